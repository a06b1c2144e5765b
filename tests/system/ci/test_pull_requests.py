"""The one comment on a pull request and the commit's status, by clew ci against a small GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

pytest.importorskip("github", reason="the extra `forges` is not installed")

from tests.forge.github_stub import REPOSITORY, TOKEN, GitHubStub, served
from tests.system.ci.events import NONE, dispatched, on_github, pushed
from tests.system.small import Small
from tests.system.state import tracked

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
    assert "a fork's run may only read, its report is in the summary" in summary
    assert "Give it to the job" not in summary, "nobody should give a stranger's run more rights"


def test_each_pull_request_of_a_branch_is_held_against_its_own_base(
    proposed: Small, stub: GitHubStub
) -> None:
    assert pushed(proposed, NONE, "feature").clew("ci").returncode == 0
    base = {"main": proposed.git("rev-parse", "HEAD~1"), "step": proposed.git("rev-parse", "HEAD")}
    proposed.git("push", "-q", "origin", "HEAD:step")
    proposed.edit("params.yaml", "lr: 0.6", "lr: 0.7")
    stub.open_pull(8, "feature", proposed.commit("Further"), base="step")
    assert pushed(proposed, base["step"], "feature").clew("ci").returncode == 0
    (stacked,) = stub.bodies(8)
    assert base["main"][:7] in report(stub)
    assert base["step"][:7] in stacked
    assert base["step"][:7] not in report(stub)
    assert len([sha for sha, _ in states(stub) if sha == states(stub)[-1][0]]) == 1


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
    proposed.edit("params.yaml", "lr: 0.6", "lr: 0.1")
    proposed.commit("Too slow")
    assert pushed(proposed, NONE, "feature").clew("ci").returncode == 1
    assert "refused" in report(stub)
    (proposed.work / ".clew/mlflow.db").write_text("no database")
    done = asked(proposed).clew("ci")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    said = report(stub)
    assert "## ⚠️ clew: unverifiable: no model could be looked at" in said
    assert "No model was looked up or judged: <code>" in said
    assert "secrets" not in said, "this is no fork"
    assert stub.statuses[-1]["state"] == "error"


def test_a_failed_run_is_an_error_on_the_commit(proposed: Small, stub: GitHubStub) -> None:
    proposed.edit("params.yaml", "fail: false", "fail: true")
    proposed.commit("Broken")
    assert pushed(proposed, NONE, "feature").clew("ci").returncode == 4
    assert stub.statuses[-1]["state"] == "error"
    assert "failed" in stub.statuses[-1]["description"]


def test_a_broken_pipeline_takes_the_place_of_what_was_said(
    proposed: Small, stub: GitHubStub
) -> None:
    before = proposed.git("rev-parse", "HEAD")
    assert pushed(proposed, NONE, "feature").clew("ci").returncode == 0
    assert "✅" in report(stub)
    proposed.edit("pipeline.yaml", "name: small", "nam: small")
    head = proposed.commit("Broken")
    for name in ("push", "pull_request"):
        event = pushed(proposed, before, "feature") if name == "push" else asked(proposed)
        assert event.clew("ci").returncode == 2
        assert "## ❌ clew: configuration and data only: 1 problem found" in report(stub)
        assert "secrets" not in report(stub), "this is no fork"
        assert states(stub)[-1] == (head[:7], "error")
    summary = (proposed.folder / "summary.md").read_text()
    assert "pipeline.yaml:1" in unescape(summary.rpartition(MARKER)[2])


def test_a_pipeline_that_only_the_branch_has_may_break_too(
    proposed: Small, stub: GitHubStub
) -> None:
    proposed.git("mv", "pipeline.yaml", "other.yaml")
    before = proposed.commit("Another name")
    proposed.edit("other.yaml", "nam", "wrong")
    proposed.commit("Broken")
    done = pushed(proposed, before, "feature").clew("ci", "--pipeline", "other.yaml")
    assert done.returncode == 2
    assert "❌" in report(stub)
    assert stub.statuses[-1]["context"] == "clew/small"


def test_broken_stages_are_told_on_the_pull_request(proposed: Small, stub: GitHubStub) -> None:
    proposed.edit("dvc.yaml", "stages:", "stages: [")
    proposed.commit("Broken")
    assert asked(proposed).clew("ci").returncode == 2
    assert "❌" in report(stub)
    assert "dvc.yaml is broken YAML" in unescape(report(stub))
    assert stub.statuses[-1]["state"] == "error"


def test_a_conflict_is_told_with_the_command_that_ends_it(
    proposed: Small, stub: GitHubStub
) -> None:
    lock = proposed.work / "dvc.lock"
    lock.write_text(f"<<<<<<< HEAD\n{lock.read_text()}=======\n>>>>>>> more\n")
    proposed.commit("Markers")
    assert asked(proposed).clew("ci").returncode == 2
    assert "&& git commit -m" in unescape(report(stub))
    assert stub.statuses[-1]["state"] == "error"


def test_the_run_of_an_older_push_says_nothing_of_the_newer(
    proposed: Small, stub: GitHubStub
) -> None:
    first = proposed.git("rev-parse", "HEAD")
    late = pushed(proposed, NONE, "feature")
    event = (proposed.folder / "event.json").read_bytes()
    proposed.edit("params.yaml", "lr: 0.6", "lr: 0.1")
    second = proposed.commit("Too slow")
    assert pushed(proposed, first, "feature").clew("ci").returncode == 1
    said = report(stub)
    assert "refused" in said
    (proposed.folder / "event.json").write_bytes(event)
    done = late.clew("ci")
    assert done.returncode == 0, done.stderr
    assert report(stub) == said
    assert f"feature is at {second[:12]} by now" in done.stderr
    assert states(stub) == [(second[:7], "failure"), (first[:7], "success")]
    assert asked(proposed, first).clew("ci").returncode == 0, "a late event of the first push"
    assert report(stub) == said


def test_the_run_of_an_older_push_takes_no_alias_from_the_newer(
    proposed: Small, stub: GitHubStub
) -> None:
    proposed.edit("params.yaml", "count: 5", "count: 6")
    proposed.commit("More data")
    late = pushed(proposed, NONE, "feature")
    event = (proposed.folder / "event.json").read_bytes()
    before = proposed.git("rev-parse", "HEAD")
    proposed.edit("params.yaml", "count: 6", "count: 7")
    proposed.commit("Still more")
    assert pushed(proposed, before, "feature").answer("ci")["register"]["version"] == 2
    said, branches = report(stub), proposed.git("branch", cwd=proposed.origin)
    (proposed.folder / "event.json").write_bytes(event)
    answer = late.answer("ci")
    assert answer["register"]["version"] == 3
    assert "newer commit" in answer["register"]["stays"][0]
    assert ("candidate", 2) in tracked(proposed)["aliases"]
    assert report(stub).splitlines()[:2] == said.splitlines()[:2]
    assert proposed.git("branch", cwd=proposed.origin) == branches, "overtaken, so not offered"


def test_data_made_under_somebodys_words_is_reported_where_it_is(
    proposed: Small, stub: GitHubStub
) -> None:
    proposed.edit("params.yaml", "count: 5", "count: 6")
    before = proposed.commit("More data")
    late = pushed(proposed, NONE, "feature")
    event = (proposed.folder / "event.json").read_bytes()
    (proposed.work / "README.md").write_text("# Words\n")
    words = proposed.commit("Words")
    pushed(proposed, before, "feature").answer("ci")
    assert "no model of" in report(stub)
    (proposed.folder / "event.json").write_bytes(event)
    late.answer("ci")
    head = proposed.git("rev-parse", "feature", cwd=proposed.origin)
    assert proposed.git("rev-parse", f"{head}^", cwd=proposed.origin) == words
    assert "✅ clew: gates passed" in report(stub)
    assert (head[:7], "success") in states(stub)
    asked(proposed, words).answer("ci")
    assert "✅ clew: gates passed" in report(stub), "dvc.lock is on top of what the event names"


def test_a_forks_pull_request_is_checked_on_a_runner_without_secrets(
    proposed: Small, stub: GitHubStub
) -> None:
    stub.rights = {"read"}
    fork = asked(proposed, fork=True)
    hosted = replace(fork, variables={**fork.variables, "RUNNER_ENVIRONMENT": "github-hosted"})
    done = hosted.clew("ci")
    assert done.returncode == 0, done.stderr
    summary = proposed.folder / "summary.md"
    assert "✅ clew: configuration and data only" in summary.read_text()
    assert "from a fork" in summary.read_text()
    proposed.edit("pipeline.yaml", "name: small", "nam: small")
    proposed.commit("Broken")
    broken = asked(proposed, fork=True).clew("ci")
    assert broken.returncode == 2
    assert "❌ clew: configuration and data only: 1 problem found" in summary.read_text()


def test_a_registry_that_goes_with_the_runner_is_no_verdict(
    proposed: Small, stub: GitHubStub
) -> None:
    ours = asked(proposed)
    hosted = replace(ours, variables={**ours.variables, "RUNNER_ENVIRONMENT": "github-hosted"})
    assert hosted.clew("ci").returncode == 3
    assert "MLflow is a file of this runner" in report(stub)
    assert stub.statuses[-1]["state"] == "error"


def test_a_tryout_that_fails_leaves_the_commits_own_verdict(
    proposed: Small, stub: GitHubStub
) -> None:
    assert pushed(proposed, NONE, "feature").clew("ci").returncode == 0
    said, marked = report(stub), states(stub)
    tryout = dispatched(proposed, ref="feature", params="train.fail=true", reason="Try it")
    done = tryout.clew("ci")
    assert done.returncode == 4
    assert "another training than the commit's own" in done.stderr
    assert (report(stub), states(stub)) == (said, marked)
