"""The real workflow files, run by act against a bare origin: what exists after, and how often."""

from __future__ import annotations

import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.system.ci.act import ACT, Ran, Workflows, with_workflows
from tests.system.ci.events import NONE
from tests.system.small import Small
from tests.system.state import tracked

ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.skipif(not ACT.exists(), reason="the extra `dev` is not installed"),
    pytest.mark.slow,
]


@pytest.fixture
def forge(ran: Small) -> Workflows:
    return with_workflows(ran)


def change(forge: Workflows, branch: str, lr: float = 0.6, count: int = 6) -> str:
    """Push a change of data and params on a branch; return where the branch was before."""
    known = forge.git("ls-remote", "origin", f"refs/heads/{branch}").partition("\t")[0]
    forge.git("checkout", "-q", "-B", branch, known or "main")
    text = (forge.work / "params.yaml").read_text()
    counted = text.replace("count: 5", f"count: {count}").replace("lr: 0.5", f"lr: {lr}")
    (forge.work / "params.yaml").write_text(counted)
    forge.commit(f"Change {branch}")
    return known or NONE


def refs(forge: Workflows) -> dict[str, str]:
    rows = forge.git("for-each-ref", "--format=%(refname) %(objectname)", cwd=forge.origin)
    return dict(row.split() for row in rows.splitlines())


def test_a_push_of_a_data_change(forge: Workflows) -> None:
    change(forge, "feature")
    ran = forge.push(NONE, "feature")
    assert ran.code == 0, ran.log
    assert tracked(forge)["versions"] == [1, 2]
    names = refs(forge)
    assert len([name for name in names if name.startswith("refs/tags/data/")]) == 2
    head = names["refs/heads/feature"]
    trailers = "--format=%(trailers:key=Clew-Run,valueonly)"
    assert forge.git("log", "-1", trailers, head, cwd=forge.origin)
    before = tracked(forge), names
    assert forge.push(NONE, "feature").code == 0, "the same event once more"
    assert (tracked(forge), refs(forge)) == before


def test_a_push_without_one(forge: Workflows) -> None:
    before = forge.git("rev-parse", "HEAD")
    (forge.work / "README.md").write_text("# Words\n")
    forge.commit("Words")
    there = tracked(forge), refs(forge)
    ran = forge.push(before)
    assert ran.code == 0
    assert "nothing that data or model depend on changed" in ran.log
    assert (tracked(forge), refs(forge)) == there


def test_a_dispatch_with_overrides(forge: Workflows) -> None:
    inputs = {"params": "train.lr=0.7", "reason": "Drift, see $(date)`id`", "ref": "main"}
    ran = forge.run("clew.yml", "workflow_dispatch", {"ref": "refs/heads/main", "inputs": inputs})
    assert ran.code == 0, ran.log
    tags = tracked(forge)["aliases"]
    assert tags == [("candidate", 2), ("production", 1)]
    assert "Drift, see $(date)`id`" in forge.clew("trace", "models:/small-model/2").stdout


def test_two_pushes_at_once(forge: Workflows) -> None:
    change(forge, "one", lr=0.6)
    change(forge, "two", lr=0.7)
    done: list[Ran] = []
    both = [
        threading.Thread(target=lambda name=name: done.append(forge.push(NONE, name)))
        for name in ("one", "two")
    ]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert [ran.code for ran in done] == [0, 0], [ran.log for ran in done]
    assert tracked(forge)["versions"] == [1, 2, 3]
    assert len([name for name in refs(forge) if name.startswith("refs/tags/data/")]) == 2


def test_a_workflow_killed_in_the_middle_and_run_again(forge: Workflows) -> None:
    forge.edit("stages/train.py", "import json", "import time; time.sleep(3)\nimport json")
    forge.commit("Slow")
    change(forge, "feature")
    event = {"ref": "refs/heads/feature", "before": NONE}
    event["after"] = forge.git("rev-parse", "feature")
    process = forge.start("clew.yml", "push", event)
    assert process.stdout is not None
    for line in process.stdout:
        if "train     job" in line:
            break
    subprocess.run(["pkill", "-KILL", "-f", str(forge.folder)], check=False)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert tracked(forge)["versions"] == [1]
    ran = forge.push(NONE, "feature")
    assert ran.code == 0, ran.log
    assert tracked(forge)["versions"] == [1, 2]
    assert "RUNNING" not in {status for _stage, status in tracked(forge)["runs"]}


def test_the_schedule_finds_a_push_whose_run_was_dropped(forge: Workflows) -> None:
    change(forge, "feature")
    ran = forge.schedule()
    assert ran.code == 0, ran.log
    assert "finished" in ran.said
    assert tracked(forge)["versions"] == [1, 2]
    again = forge.schedule()
    assert "nothing is pending" in again.said or "production" in again.said
    assert tracked(forge)["versions"] == [1, 2]


def test_a_squash_merge_promotes_without_training(forge: Workflows) -> None:
    main = forge.git("rev-parse", "main")
    change(forge, "feature")
    assert forge.push(NONE, "feature").code == 0
    forge.git("pull", "-q", "--ff-only", "origin", "feature")
    forge.git("checkout", "-q", "main")
    forge.git("merge", "-q", "--squash", "feature")
    forge.commit("All of it")
    forge.git("push", "-q", "origin", ":feature")
    ran = forge.push(main)
    assert ran.code == 0, ran.log
    assert "reused: MLflow run" in ran.said
    assert tracked(forge)["aliases"] == [("candidate", 2), ("production", 2)]
    assert tracked(forge)["versions"] == [1, 2]


def test_a_pull_request_opened_updated_and_run_again(forge: Workflows) -> None:
    pytest.importorskip("github", reason="the extra `forges` is not installed")
    from tests.forge.github_stub import REPOSITORY, TOKEN, GitHubStub, served

    with served(GitHubStub()) as stub:
        here = {"GITHUB_API_URL": stub.url, "GITHUB_REPOSITORY": REPOSITORY}
        there = replace(forge, told=here, secrets={"GITHUB_TOKEN": TOKEN})
        change(there, "feature")
        stub.open_pull(7, "feature", there.git("rev-parse", "HEAD"))
        for action in ("opened", "synchronize"):
            ran = there.run("report.yml", "pull_request", pull_request(there, action))
            assert ran.code == 0, ran.log
            assert "no model of" in stub.bodies(7)[0]
        ran = there.push(NONE, "feature")
        assert ran.code == 0, ran.log
        there.git("pull", "-q", "origin", "feature")
        ran = there.run("report.yml", "pull_request", pull_request(there, "synchronize"))
        assert ran.code == 0, ran.log
        (body,) = stub.bodies(7)
        assert "gates passed; better than the base" in body
        assert stub.statuses[-1]["state"] == "success"
        kept = sorted(path.suffix for path in there.artifacts.rglob("small-*"))
        assert set(kept) == {".html", ".json", ".md"}


def test_a_forks_pull_request_is_checked_and_starts_nothing(forge: Workflows) -> None:
    pytest.importorskip("github", reason="the extra `forges` is not installed")
    from tests.forge.github_stub import REPOSITORY, TOKEN, GitHubStub, served

    with served(GitHubStub(rights={"read"})) as stub:
        here = {"GITHUB_API_URL": stub.url, "GITHUB_REPOSITORY": REPOSITORY}
        there = replace(forge, told=here, secrets={"GITHUB_TOKEN": TOKEN})
        change(there, "feature")
        stub.open_pull(7, "feature", there.git("rev-parse", "HEAD"), fork=True)
        before = tracked(there), refs(there)
        event = pull_request(there, "opened", of="stranger/it")
        ran = there.run("report.yml", "pull_request", event)
        assert ran.code == 0, ran.log
        assert "configuration and data only" in ran.log
        assert stub.bodies(7) == []
        assert (tracked(there), refs(there)) == before


def pull_request(forge: Workflows, action: str, of: str = "us/it") -> dict[str, Any]:
    sha = forge.git("rev-parse", "HEAD")
    head = {"sha": sha, "ref": "feature", "repo": {"full_name": of}}
    base = {"ref": "main", "repo": {"full_name": "us/it"}}
    change = {"number": 7, "head": head, "base": base}
    return {"action": action, "number": 7, "pull_request": change}
