"""The real workflow files, run by act against a bare origin: what exists after, and how often."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.system.ci.act import (
    ACT,
    Ran,
    Workflows,
    on_github,
    pull_request,
    with_workflows,
)
from tests.system.ci.events import NONE
from tests.system.ci.once import exactly_once, left_by
from tests.system.small import Small
from tests.system.state import tracked

LEARNED_AT = """
    SELECT params.value FROM registered_model_aliases AS alias
    JOIN model_versions AS version ON version.name = alias.name AND version.version = alias.version
    JOIN params ON params.run_uuid = version.run_id AND params.key = 'train.lr'
    WHERE alias.alias = ?
"""
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


def only(bodies: list[str]) -> str:
    (body,) = bodies
    return body


def refs(forge: Workflows) -> dict[str, str]:
    rows = forge.git("for-each-ref", "--format=%(refname) %(objectname)", cwd=forge.origin)
    return dict(row.split() for row in rows.splitlines())


def test_a_push_of_a_data_change(forge: Workflows) -> None:
    change(forge, "feature")
    ran = forge.push(NONE, "feature")
    assert ran.code == 0, ran.log
    exactly_once(left_by(forge), versions=2, data=2)
    names = refs(forge)
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
    exactly_once(left_by(forge), versions=2, data=1)
    assert tracked(forge)["aliases"] == [("candidate", 2), ("production", 1)]
    assert "Drift, see $(date)`id`" in forge.clew("trace", "models:/small-model/2").stdout


def pushed(forge: Workflows, branch: str, before: str) -> dict[str, str]:
    after = forge.git("rev-parse", branch)
    return {"ref": f"refs/heads/{branch}", "before": before, "after": after}


def at_once(forge: Workflows, *events: dict[str, str]) -> list[Ran]:
    """Run the workflow for several pushes at the same time; return what came of each."""
    with ThreadPoolExecutor(len(events)) as pool:
        return list(pool.map(lambda event: forge.run("clew.yml", "push", event), events))


def test_two_pushes_at_once(forge: Workflows) -> None:
    change(forge, "one", lr=0.6)
    change(forge, "two", lr=0.7)
    done = at_once(forge, *(pushed(forge, name, NONE) for name in ("one", "two")))
    assert [ran.code for ran in done] == [0, 0], [ran.log for ran in done]
    exactly_once(left_by(forge), versions=3, data=2, at_once=2)


def test_two_pushes_on_one_branch_at_once(forge: Workflows) -> None:
    """The older push's run ends last, and the newer one's report stays."""
    pytest.importorskip("github", reason="the extra `forges` is not installed")
    from tests.forge.github_stub import GitHubStub, served

    slow = 'import time; time.sleep(10 if "lr: 0.6" in open("params.yaml").read() else 0)'
    forge.edit("stages/train.py", "import json", f"{slow}\nimport json")
    forge.commit("Some learn slowly")
    change(forge, "feature")
    first = pushed(forge, "feature", NONE)
    forge.edit("params.yaml", "lr: 0.6", "lr: 0.7")
    newest = forge.commit("Learn at 0.7")
    with served(GitHubStub()) as stub:
        there = on_github(forge, stub)
        stub.open_pull(7, "feature", newest)
        done = at_once(there, first, pushed(forge, "feature", first["after"]))
        assert [ran.code for ran in done] == [0, 0], [ran.log for ran in done]
        body = only(stub.bodies(7))
        assert "+21.0 points" in body, "of the newer push; the older one's are +11.0"
        assert [one["state"] for one in stub.statuses if one["sha"] == newest][-1] == "success"
    exactly_once(left_by(forge), versions=3, data=2, at_once=2)
    assert learned_at(forge, "candidate") == "0.7"


def learned_at(forge: Workflows, alias: str) -> str:
    with closing(sqlite3.connect(forge.work / ".clew/mlflow.db")) as database:
        (row,) = database.execute(LEARNED_AT, (alias,))
    return str(row[0])


def test_a_workflow_killed_in_the_middle_and_run_again(forge: Workflows) -> None:
    forge.edit("stages/train.py", "import json", "import time; time.sleep(3)\nimport json")
    forge.commit("Slow")
    change(forge, "feature")
    process = forge.start("clew.yml", "push", pushed(forge, "feature", NONE))
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
    exactly_once(left_by(forge), versions=2, data=2)


def test_the_schedule_finds_a_push_whose_run_was_dropped(forge: Workflows) -> None:
    change(forge, "feature")
    ran = forge.schedule()
    assert ran.code == 0, ran.log
    assert "finished" in ran.said
    assert tracked(forge)["versions"] == [1, 2]
    again = forge.schedule()
    assert "nothing is pending" in again.said or "production" in again.said
    exactly_once(left_by(forge), versions=2, data=2)


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
    exactly_once(left_by(forge), versions=2, data=2)


def test_a_pull_request_opened_updated_twice_and_run_again(forge: Workflows) -> None:
    pytest.importorskip("github", reason="the extra `forges` is not installed")
    from tests.forge.github_stub import GitHubStub, served

    with served(GitHubStub()) as stub:
        there = on_github(forge, stub)
        change(there, "feature")
        opened = there.git("rev-parse", "HEAD")
        stub.open_pull(7, "feature", opened)
        ran = there.run("report.yml", "pull_request", pull_request(there, "opened"))
        assert ran.code == 0, ran.log
        assert "no model of" in only(stub.bodies(7))
        assert (stub.statuses[-1]["sha"], stub.statuses[-1]["state"]) == (opened, "pending")
        for lr, verdict, state in (
            ("0.7", "gates passed; better than the base", "success"),
            ("0.1", "refused", "failure"),
        ):
            before = there.git("rev-parse", "HEAD")
            text = re.sub(r"lr: [0-9.]+", f"lr: {lr}", (there.work / "params.yaml").read_text())
            (there.work / "params.yaml").write_text(text)
            updated = there.commit(f"Learn at {lr}")
            assert there.push(before, "feature").code == (state == "failure")
            assert verdict in only(stub.bodies(7))
            there.git("pull", "-q", "origin", "feature")
            ran = there.run("report.yml", "pull_request", pull_request(there, "synchronize"))
            assert ran.code == 0, ran.log
            assert verdict in only(stub.bodies(7))
            assert {one["state"] for one in stub.statuses if one["sha"] == updated} == {state}
        known = only(stub.bodies(7))
        ran = there.run("report.yml", "pull_request", pull_request(there, "synchronize"))
        assert ran.code == 0, ran.log
        assert only(stub.bodies(7)) == known, "run again, it says the same"
        exactly_once(left_by(there), versions=3, data=2, comments=stub.bodies(7))
        kept = sorted(path.suffix for path in there.artifacts.rglob("small-*"))
        assert set(kept) == {".html", ".json", ".md"}


def test_a_forks_pull_request_is_checked_and_starts_nothing(forge: Workflows) -> None:
    pytest.importorskip("github", reason="the extra `forges` is not installed")
    from tests.forge.github_stub import GitHubStub, served

    with served(GitHubStub(rights={"read"})) as stub:
        there = on_github(forge, stub)
        change(there, "feature")
        stub.open_pull(7, "feature", there.git("rev-parse", "HEAD"), fork=True)
        before = tracked(there), refs(there)
        event = pull_request(there, "opened", of="stranger/it")
        ran = there.run("report.yml", "pull_request", event)
        assert ran.code == 0, ran.log
        assert "configuration and data only" in ran.log
        assert stub.bodies(7) == []
        assert (tracked(there), refs(there)) == before
