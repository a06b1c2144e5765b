"""What each CI system says about itself, as its documentation describes it, becomes one trigger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.errors import ConfigError
from clew.trigger.model import BRANCH, Kind, Trigger
from clew.trigger.read import read_trigger

HEAD, BEFORE, MERGE = "a" * 40, "b" * 40, "c" * 40
Event = Mapping[str, Any]


def on_github(name: str, event: Event, **variables: str) -> Trigger:
    environ = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": name,
        "GITHUB_SHA": MERGE,
        "GITHUB_ACTOR": "octocat",
        **variables,
    }
    return read_trigger(environ, lambda _path: event)


def of_pull_request(head_repository: str | None = "us/it", **changes: Any) -> Event:
    head = {"sha": HEAD, "ref": "feature"}
    if head_repository:
        head["repo"] = {"full_name": head_repository}  # type: ignore[assignment]
    change = {"number": 7, "head": head, "base": {"ref": "main", "repo": {"full_name": "us/it"}}}
    return {"action": "synchronize", "number": 7, "pull_request": change, **changes}


def test_a_push_on_github() -> None:
    found = on_github("push", {"ref": "refs/heads/a/b", "before": BEFORE, "after": HEAD})
    assert found == Trigger(Kind.PUSH, HEAD, "a/b", BEFORE, actor="octocat")  # type: ignore[arg-type]


def test_a_pull_request_is_its_head_never_the_temporary_merge() -> None:
    found = on_github("pull_request", of_pull_request())
    assert (found.kind, found.commit, found.branch) == (Kind.PULL_REQUEST, HEAD, "feature")
    assert found.pull_request is not None
    assert (found.pull_request.number, found.pull_request.base_branch) == (7, "main")
    assert found.pull_request.fork is False


@pytest.mark.parametrize("repository", ["stranger/it", None])
def test_a_fork_is_told_also_when_it_is_gone(repository: str | None) -> None:
    found = on_github("pull_request", of_pull_request(repository))
    assert found.pull_request is not None
    assert found.pull_request.fork is True


def test_a_dispatch_on_github() -> None:
    inputs = {"ref": "v1", "params": "train.lr=0.1 'a.b=x y'", "reason": "drift", "executor": ""}
    found = on_github("workflow_dispatch", {"ref": "refs/heads/main", "inputs": inputs})
    assert found.kind is Kind.DISPATCH
    assert found.inputs.params == ("train.lr=0.1", "a.b=x y")
    assert (found.inputs.ref, found.inputs.reason) == ("v1", "drift")
    assert found.branch == "main"


@pytest.mark.parametrize("name", ["schedule", "repository_dispatch"])
def test_what_has_no_commit_of_its_own_reconciles(name: str) -> None:
    assert on_github(name, {}).kind is Kind.SCHEDULE


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("push", {"ref": "refs/tags/v1", "before": BEFORE, "after": HEAD}),
        ("push", {"ref": "refs/heads/x", "before": BEFORE, "after": "0" * 40, "deleted": True}),
        ("pull_request", of_pull_request(action="closed")),
    ],
)
def test_events_that_ask_for_nothing(name: str, event: Event) -> None:
    found = on_github(name, event)
    assert found.kind is Kind.NONE
    assert found.why_nothing


@pytest.mark.parametrize("name", ["pull_request_target", "workflow_run", "issue_comment"])
def test_events_that_mix_secrets_with_code_of_strangers_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="secrets"):
        on_github(name, of_pull_request("stranger/it"))


@pytest.mark.parametrize(
    ("trigger", "event", "kind"),
    [
        ("branch/main", "PUSH", Kind.PUSH),
        ("tag/v1", "PUSH", Kind.NONE),
        ("pr/7", "PULL_REQUEST_CREATED", Kind.PULL_REQUEST),
        ("pr/7", "PULL_REQUEST_UPDATED", Kind.PULL_REQUEST),
        ("pr/7", "PULL_REQUEST_MERGED", Kind.NONE),
    ],
)
def test_codebuilds_webhook(trigger: str, event: str, kind: Kind) -> None:
    environ = {
        "CODEBUILD_BUILD_ID": "clew:1",
        "CODEBUILD_WEBHOOK_EVENT": event,
        "CODEBUILD_WEBHOOK_TRIGGER": trigger,
        "CODEBUILD_RESOLVED_SOURCE_VERSION": HEAD,
        "CODEBUILD_WEBHOOK_PREV_COMMIT": BEFORE,
        "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/feature",
        "CODEBUILD_WEBHOOK_BASE_REF": "refs/heads/main",
    }
    found = read_trigger(environ, _no_file)
    assert found.kind is kind
    if kind is Kind.PUSH:
        assert (found.commit, found.branch, found.before) == (HEAD, "main", BEFORE)
    if kind is Kind.PULL_REQUEST:
        assert found.commit == HEAD
        assert found.pull_request is not None
        assert (found.pull_request.number, found.pull_request.fork) == (7, None)


@pytest.mark.parametrize(
    ("initiator", "kind"), [("rule/hourly", Kind.SCHEDULE), ("some-user", Kind.DISPATCH)]
)
def test_codebuild_without_a_webhook(initiator: str, kind: Kind) -> None:
    environ = {
        "CODEBUILD_BUILD_ID": "clew:1",
        "CODEBUILD_INITIATOR": initiator,
        "CODEBUILD_RESOLVED_SOURCE_VERSION": HEAD,
        "CLEW_REASON": "drift",
    }
    found = read_trigger(environ, _no_file)
    assert (found.kind, found.commit) == (kind, HEAD)
    assert found.inputs.reason == ("drift" if kind is Kind.DISPATCH else "")


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("push", Kind.PUSH),
        ("web", Kind.DISPATCH),
        ("schedule", Kind.SCHEDULE),
        ("parent_pipeline", Kind.NONE),
    ],
)
def test_gitlabs_pipelines(source: str, kind: Kind) -> None:
    environ = {
        "GITLAB_CI": "true",
        "CI_PIPELINE_SOURCE": source,
        "CI_COMMIT_SHA": HEAD,
        "CI_COMMIT_BEFORE_SHA": "0" * 40,
        "CI_COMMIT_BRANCH": "main",
    }
    found = read_trigger(environ, _no_file)
    assert (found.kind, found.before) == (kind, None)


@pytest.mark.parametrize(("project", "fork"), [("1", False), ("2", True)])
def test_gitlabs_merge_request_is_the_head_of_its_source(project: str, fork: bool) -> None:
    environ = {
        "GITLAB_CI": "true",
        "CI_PIPELINE_SOURCE": "merge_request_event",
        "CI_COMMIT_SHA": MERGE,
        "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": HEAD,
        "CI_MERGE_REQUEST_IID": "7",
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "feature",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": project,
        "CI_MERGE_REQUEST_PROJECT_ID": "1",
    }
    found = read_trigger(environ, _no_file)
    assert found.commit == HEAD
    assert found.pull_request is not None
    assert found.pull_request.fork is fork


def test_elsewhere_it_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="no CI system"):
        read_trigger({}, _no_file)


KEYS = ["ref", "before", "after", "sha", "head", "base", "repo", "number", "pull_request", "inputs"]
values = st.none() | st.text(max_size=20) | st.integers() | st.booleans()
trees = st.recursive(
    values, lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=5), max_leaves=12
)


@given(
    st.sampled_from(["push", "pull_request", "workflow_dispatch", "schedule", "?"]),
    st.dictionaries(st.sampled_from(KEYS), trees, max_size=8),
)
def test_no_event_gets_past_the_checks(name: str, event: Event) -> None:
    try:
        found = on_github(name, event)
    except ConfigError:
        return
    assert found.commit is None or found.commit in (HEAD, BEFORE, MERGE) or len(found.commit) == 40
    assert found.branch is None or BRANCH.fullmatch(found.branch)


@pytest.mark.parametrize(
    "name",
    ["-rf", "a b", "a\nb", "a..b", "a~1", "x.lock", "/a", "a/", "a//b", "@{-1}", "a\x1b[2J", ""],
)
def test_what_is_no_branch_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no name of a branch"):
        on_github("push", {"ref": f"refs/heads/{name}", "before": BEFORE, "after": HEAD})


def _no_file(_path: str) -> Event:
    raise AssertionError("only GitHub has a file for the event")
