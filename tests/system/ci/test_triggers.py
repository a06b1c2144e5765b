"""What a push, a dispatch and a schedule come to, in a repository with an origin."""

from __future__ import annotations

import getpass
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tests.system.ci.events import NONE, dispatched, on_github, pushed, scheduled
from tests.system.small import Small
from tests.system.state import tracked


def test_a_push_that_changes_data_is_run(ran: Small) -> None:
    before = ran.git("rev-parse", "HEAD")
    ran.edit("params.yaml", "count: 5", "count: 6")
    ran.commit("More data")
    answer = pushed(ran, before).answer("ci")
    assert answer["register"]["version"] == 2
    assert answer["commit"] == answer["version"]["commit"]
    assert ran.git("rev-parse", "origin/main") == answer["commit"], "dvc.lock is on the branch"
    again = pushed(ran, before).answer("ci")
    assert again["register"]["version"] == 2
    assert tracked(ran)["versions"] == [1, 2]


def test_a_push_that_changes_nothing_of_it_runs_nothing(ran: Small) -> None:
    before = ran.git("rev-parse", "HEAD")
    (ran.work / "README.md").write_text("# Words\n")
    ran.commit("Words")
    summary = ran.folder / "summary.md"
    there = pushed(ran, before)
    there = replace(there, variables={**there.variables, "GITHUB_STEP_SUMMARY": str(summary)})
    done = there.clew("ci")
    assert done.returncode == 0, done.stderr
    why = "nothing that data or model depend on changed"
    assert why in done.stdout
    assert why in summary.read_text()


def test_a_new_branch_of_words_alone_runs_nothing(ran: Small) -> None:
    ran.git("checkout", "-qb", "feature")
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    ran.commit("Faster")
    pushed(ran, NONE, "feature").answer("ci")
    ran.git("checkout", "-q", "main")
    ran.git("checkout", "-qb", "words")
    (ran.work / "README.md").write_text("# Words\n")
    ran.commit("Words")
    done = pushed(ran, NONE, "words").clew("ci")
    assert "nothing that data or model depend on changed" in done.stdout
    assert ("candidate", 2) in tracked(ran)["aliases"]


def test_a_push_of_several_commits_is_compared_with_what_was_there(ran: Small) -> None:
    before = ran.git("rev-parse", "HEAD")
    for old, new in (("0.5", "0.6"), ("0.6", "0.7")):
        ran.edit("params.yaml", f"lr: {old}", f"lr: {new}")
        ran.commit(f"Learn at {new}")
    there = pushed(ran, before)
    assert there.clew("ci", "--reports", "reports").returncode == 0
    (told,) = ran.work.glob("reports/*.json")
    found = json.loads(told.read_text())
    assert found["base"]["commit"] == before
    (row,) = [row for row in found["metrics"] if row["name"] == "accuracy"]
    assert row["delta"] == pytest.approx(0.2)
    later = json.loads(ran.clew("report", "--json").stdout)
    assert later["base"]["model"] == "models:/small-model/1", "it was the baseline until then"


def test_each_kind_of_change_is_seen(ran: Small) -> None:
    changes = {
        "params.yaml": ("lr: 0.5", "lr: 0.6"),
        "stages/train.py": ("trained on", "has trained on"),
        "pipeline.yaml": ("min: 0.3", "min: 0.2"),
        "data/raw.txt": ("raw", "rawer"),
        "dvc.yaml": ("deps: [model", "deps: [model/"),
        "uv.lock": ("version = 1", "version = 1\n"),
    }
    for path, (old, new) in changes.items():
        before = ran.git("rev-parse", "HEAD")
        ran.edit(path, old, new)
        ran.commit(f"Change {path}")
        plan = pushed(ran, before)
        found = plan.clew("ci", "--json")
        assert json.loads(found.stdout)["nothing"] == "", path
        ran.git("reset", "-q", "--hard", before)
        ran.git("push", "-qf", "origin", "main")


def test_clews_own_commit_triggers_nothing(small: Small) -> None:
    before = small.git("rev-parse", "HEAD")
    small.answer("run")
    assert small.git("rev-parse", "HEAD^") == before
    done = pushed(small, before).clew("ci")
    assert "clew's own commit" in done.stdout


def test_a_new_branch_and_a_rewritten_one_are_run(ran: Small) -> None:
    ran.git("checkout", "-qb", "feature")
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    ran.commit("Faster")
    for before in (NONE, "1" * 40):
        answer = pushed(ran, before, "feature").answer("ci")
        assert answer["register"]["aliases"] == ["candidate"]
    assert tracked(ran)["versions"] == [1, 2]


def test_a_lock_is_never_put_on_a_commit_with_other_inputs(ran: Small) -> None:
    ran.edit("data/raw.txt", "raw", "first")
    first = ran.commit("First")
    ran.edit("data/raw.txt", "first", "second")
    second = ran.commit("Second")
    done = ran.clew("run", "--commit", first, "--branch", "main")
    assert done.returncode == 0, done.stderr
    assert "overtaken" in done.stderr
    assert ran.git("rev-parse", "main", cwd=ran.origin) == second
    assert ran.clew("run").returncode == 0
    assert ran.git("rev-parse", "main^", cwd=ran.origin) == second
    assert ran.clew("run", "--no-process", "--dry-run").returncode == 0
    assert ran.git("branch", "--list", "clew/*", cwd=ran.origin) == ""


def test_a_dispatch_keeps_who_asked_and_why(ran: Small) -> None:
    asked = dispatched(ran, params="train.lr=0.6", reason="Try a faster one", ref="main")
    answer = asked.answer("ci")
    run = answer["train"]["run_id"]
    told = ran.clew("trace", run).stdout
    assert "clew.actor: octocat" in " ".join(told.split())
    assert "Try a faster one" in told
    assert "--param" in answer["register"]["stays"][0]


def test_a_dispatch_by_hand(ran: Small) -> None:
    for blank in ((), ("--reason", " ")):
        assert ran.clew("dispatch", *blank).returncode == 2
    answer = ran.answer("dispatch", "--reason", "By hand", "--param", "train.lr=0.6")
    assert answer["register"]["version"] == 2
    told = " ".join(ran.clew("trace", answer["train"]["run_id"]).stdout.split())
    assert "clew.reason: By hand" in told
    assert f"clew.actor: {getpass.getuser()}" in told


def test_a_registry_that_would_go_with_the_runner_is_refused(ran: Small) -> None:
    hosted = on_github(ran, "schedule", {}, RUNNER_ENVIRONMENT="github-hosted")
    done = hosted.clew("ci")
    assert done.returncode == 2
    assert "MLFLOW_TRACKING_URI" in done.stderr


def test_a_push_that_lost_its_run_is_found(ran: Small) -> None:
    ran.git("checkout", "-qb", "feature")
    ran.edit("params.yaml", "count: 5", "count: 7")
    lost = ran.commit("Its run was dropped by the forge")
    ran.git("checkout", "-q", "main")
    (listed,) = ran.answer("reconcile", "--dry-run")["runs"]
    assert (listed["commit"], listed["branch"], listed["outcome"]) == (lost, "feature", "pending")
    (row,) = scheduled(ran).answer("ci")["runs"]
    assert row["outcome"] == "finished"
    assert ran.answer("reconcile")["runs"] == []
    assert tracked(ran)["versions"] == [1, 2]
    assert ran.git("log", "-1", "--format=%an", "origin/feature") == "clew"


def test_a_branch_that_changes_nothing_is_not_pending(ran: Small) -> None:
    ran.git("checkout", "-qb", "words")
    (ran.work / "README.md").write_text("# Words\n")
    ran.commit("Words")
    assert ran.answer("reconcile")["runs"] == []


def test_a_run_killed_in_the_middle_is_finished_by_the_schedule(ran: Small) -> None:
    before = ran.git("rev-parse", "HEAD")
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    ran.edit("stages/train.py", "import json", "import time; time.sleep(1)\nimport json")
    ran.edit("pipeline.yaml", "gates:", "executor: {local: {max_runtime_hours: 0.0028}}\ngates:")
    ran.commit("Slow")
    there = pushed(ran, before)
    process = subprocess.Popen(
        [sys.executable, "-m", "clew", "ci"],
        cwd=ran.work,
        env=there.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "train     job" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(11)  # its time limit, by which a job on another machine must have ended
    rows = scheduled(ran).answer("ci")["runs"]
    assert [row["outcome"] for row in rows] == ["finished"]
    assert tracked(ran)["versions"] == [1, 2]


def test_a_job_that_failed_is_not_paid_for_at_every_schedule(ran: Small) -> None:
    ran.git("checkout", "-qb", "feature")
    ran.edit("params.yaml", "fail: false", "fail: true")
    ran.commit("Broken")
    first = scheduled(ran).clew("ci", "--json")
    assert first.returncode == 4
    jobs = sorted(path.name for path in (ran.work / ".clew/jobs").iterdir())
    second = scheduled(ran).clew("ci", "--json")
    assert second.returncode == 0, second.stderr
    (row,) = json.loads(second.stdout)["runs"]
    assert row["outcome"] == "left"
    assert "the loss is NaN" in row["detail"]
    assert sorted(path.name for path in (ran.work / ".clew/jobs").iterdir()) == jobs


def test_what_the_gates_refused_is_not_pending_for_ever(ran: Small) -> None:
    before = ran.git("rev-parse", "HEAD")
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.01")
    ran.commit("Worse")
    assert pushed(ran, before).clew("ci").returncode == 1
    assert tracked(ran)["versions"] == [1, 2]
    assert ran.answer("reconcile", "--dry-run")["runs"] == []
