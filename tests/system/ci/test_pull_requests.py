"""The one comment on a pull request and the commit's status, by clew ci against a small GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("github", reason="the extra `forges` is not installed")

from tests.forge.github_stub import REPOSITORY, TOKEN, GitHubStub, served
from tests.system.ci.events import NONE, on_github, pushed
from tests.system.small import Small

MARKER = "<!-- clew report: small -->"


@pytest.fixture
def stub() -> Iterator[GitHubStub]:
    with served(GitHubStub()) as github:
        yield github


@pytest.fixture
def proposed(ran: Small, stub: GitHubStub) -> Small:
    """A branch with a change, proposed as pull request 7."""
    ran.git("checkout", "-qb", "feature")
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    stub.open_pull(7, "feature", ran.commit("Faster"))
    return with_token(ran, stub)


def with_token(small: Small, stub: GitHubStub) -> Small:
    told = {
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_API_URL": stub.url,
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_STEP_SUMMARY": str(small.folder / "summary.md"),
    }
    return replace(small, variables={**small.variables, **told})


def asked(small: Small, head: str | None = None, *, fork: bool = False) -> Small:
    """Return the pipeline as the workflow of a pull request sees it."""
    repository = "stranger/it" if fork else REPOSITORY
    sha = head or small.git("rev-parse", "HEAD")
    change: dict[str, Any] = {
        "number": 7,
        "head": {"sha": sha, "ref": "feature", "repo": {"full_name": repository}},
        "base": {"ref": "main", "repo": {"full_name": REPOSITORY}},
    }
    return on_github(small, "pull_request", {"action": "synchronize", "pull_request": change})


def report(stub: GitHubStub) -> str:
    (body,) = stub.bodies(7)
    assert body.startswith(MARKER)
    return body


def states(stub: GitHubStub) -> list[tuple[str, str]]:
    return [(status["sha"][:7], status["state"]) for status in stub.statuses]


def test_opened_updated_twice_and_run_again(proposed: Small, stub: GitHubStub) -> None:
    assert asked(proposed).clew("ci").returncode == 0
    assert "no model of" in report(stub)
    assert stub.statuses[-1]["state"] == "pending"
    assert pushed(proposed, NONE, "feature").clew("ci").returncode == 0
    assert "✅ clew: gates passed; better than the base" in report(stub)
    assert stub.statuses[-1]["context"] == "clew/small"
    assert stub.statuses[-1]["state"] == "success"
    before = proposed.git("rev-parse", "HEAD")
    proposed.edit("params.yaml", "lr: 0.6", "lr: 0.1")
    proposed.commit("Too slow")
    assert pushed(proposed, before, "feature").clew("ci").returncode == 1
    assert "refused" in report(stub)
    assert stub.statuses[-1]["state"] == "failure"
    assert asked(proposed).clew("ci").returncode == 0
    assert "refused" in report(stub), "the same again says the same"
    summary = (proposed.folder / "summary.md").read_text()
    assert summary.count(MARKER) == 4


def test_words_on_top_of_a_refused_model_let_nothing_through(
    proposed: Small, stub: GitHubStub
) -> None:
    proposed.edit("params.yaml", "lr: 0.6", "lr: 0.1")
    before = proposed.commit("Too slow")
    assert pushed(proposed, NONE, "feature").clew("ci").returncode == 1
    (proposed.work / "README.md").write_text("# Words\n")
    head = proposed.commit("Words")
    done = pushed(proposed, before, "feature").clew("ci")
    assert done.returncode == 0
    assert "nothing that data or model depend on changed" in done.stdout
    assert states(stub)[-1] == (head[:7], "failure"), "the head is what would be merged"


def test_words_alone_may_be_merged(ran: Small, stub: GitHubStub) -> None:
    ran.git("checkout", "-qb", "feature")
    (ran.work / "README.md").write_text("# Words\n")
    stub.open_pull(7, "feature", ran.commit("Words"))
    asked(with_token(ran, stub)).clew("ci")
    assert stub.statuses[-1]["state"] == "success"
    assert stub.statuses[-1]["description"] == "nothing that data or model depend on changed"


def test_the_commit_of_dvc_lock_gets_the_verdict_too(proposed: Small, stub: GitHubStub) -> None:
    proposed.edit("params.yaml", "count: 5", "count: 7")
    pushed_commit = proposed.commit("More data")
    pushed(proposed, NONE, "feature").answer("ci")
    carrier = proposed.git("rev-parse", "origin/feature")
    assert carrier != pushed_commit
    assert {sha for sha, state in states(stub) if state == "success"} == {
        pushed_commit[:7],
        carrier[:7],
    }


def test_a_forks_pull_request_gets_a_check_and_a_data_diff(
    proposed: Small, stub: GitHubStub
) -> None:
    stub.rights = {"read"}  # GitHub gives a fork's workflow a token that can only read
    done = asked(proposed, fork=True).clew("ci")
    assert done.returncode == 0, done.stderr
    assert stub.bodies(7) == []
    summary = (proposed.folder / "summary.md").read_text()
    assert "configuration and data only" in summary
    assert "pull-requests: write" in summary


def test_a_pull_request_that_nobody_knows_is_a_strangers(proposed: Small, stub: GitHubStub) -> None:
    head = proposed.git("rev-parse", "HEAD")
    told = {
        "CODEBUILD_BUILD_ID": "clew:1",
        "CODEBUILD_WEBHOOK_EVENT": "PULL_REQUEST_UPDATED",
        "CODEBUILD_WEBHOOK_TRIGGER": "pr/7",
        "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/feature",
        "CODEBUILD_WEBHOOK_BASE_REF": "refs/heads/main",
        "CODEBUILD_RESOLVED_SOURCE_VERSION": head,
    }
    there = replace(proposed, variables={**proposed.variables, **told})
    done = there.clew("ci")
    assert done.returncode == 0, done.stderr
    # This stub is not at github.com, and CodeBuild names no API: nobody tells, so it is untrusted.
    assert "no forge that clew knows" in done.stderr
    assert "configuration and data only" in (proposed.folder / "summary.md").read_text()


def test_without_a_token_the_run_goes_on(proposed: Small, stub: GitHubStub) -> None:
    stub.rights = {"read"}
    done = pushed(proposed, NONE, "feature").clew("ci")
    assert done.returncode == 0, done.stderr
    assert "pull-requests: write" in done.stderr
    assert "statuses: write" in done.stderr


def test_a_registry_that_can_not_be_read_is_no_verdict(proposed: Small, stub: GitHubStub) -> None:
    (proposed.work / ".clew/mlflow.db").write_text("no database")
    done = asked(proposed).clew("ci")
    assert "Traceback" not in done.stderr
    assert stub.statuses[-1]["state"] != "success"


def test_a_failed_run_is_an_error_on_the_commit(proposed: Small, stub: GitHubStub) -> None:
    proposed.edit("params.yaml", "fail: false", "fail: true")
    proposed.commit("Broken")
    assert pushed(proposed, NONE, "feature").clew("ci").returncode == 4
    assert stub.statuses[-1]["state"] == "error"
    assert "failed" in stub.statuses[-1]["description"]
