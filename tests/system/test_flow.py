"""The main job through the command line: real Git, DVC and MLflow, a small pipeline."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.small import Small
from tests.system.state import end_state, tracked

CHAIN = (
    "data_git_commit_id",
    "data_version",
    "data_fingerprint",
    "run_fingerprint",
    "code_git_commit_id",
)


def test_the_first_run_records_the_whole_chain(ran: Small) -> None:
    state = end_state(ran)
    assert state["runs"] == {
        ("run", "FINISHED"): 1,
        ("process", "FINISHED"): 1,
        ("train", "FINISHED"): 1,
        ("evaluate", "FINISHED"): 1,
    }
    assert state["parents"] == [("evaluate", "run"), ("process", "run"), ("train", "run")]
    for stage in ("run", "process", "train", "evaluate"):
        params = {key: value for name, key, value in state["lineage"] if name == stage}
        assert params.keys() >= {*CHAIN, "dvc_repo_url", "dvc_remote_url"}, stage
    train = {key: value for name, key, value in state["lineage"] if name == "train"}
    assert train["train.lr"] == "0.5"
    assert "prepare.count" not in train
    tags = {key: value for _, key, value in state["version tags"]}
    assert {key: tags[key] for key in CHAIN} == {key: train[key] for key in CHAIN}
    assert tags["clew.gate"] == "passed"
    assert tags["clew.unfit"] == ""
    assert state["aliases"] == [("candidate", 1), ("production", 1)]
    assert state["dirty"] == ""


def test_the_tag_is_on_the_bot_commit_and_the_branch_shows_it(ran: Small) -> None:
    answer = ran.answer("resolve")
    tag = ran.git("rev-list", "-n1", answer["data_version"], cwd=ran.origin)
    head = ran.git("rev-parse", "main", cwd=ran.origin)
    assert tag == head == answer["data_git_commit_id"] == ran.git("rev-parse", "HEAD")
    message = ran.git("log", "-1", "--format=%(trailers:key=Clew-Run,valueonly)")
    assert message == answer["run_fingerprint"]


def test_the_same_commit_again_is_reused(ran: Small) -> None:
    before = end_state(ran)
    answer = ran.answer("run")
    assert answer["train"]["reused"]
    assert not answer["register"]["created"]
    assert end_state(ran) == before


def test_more_data_stores_only_the_new_files(ran: Small) -> None:
    ran.edit("params.yaml", "count: 5", "count: 8")
    ran.commit("More data")
    answer = ran.answer("run")
    assert answer["process"]["files"] == {"new": 3, "reused": 5}
    assert answer["register"]["version"] == 2
    assert tracked(ran)["aliases"] == [("candidate", 2), ("production", 2)]


def test_another_parameter_trains_again_on_the_same_data(ran: Small) -> None:
    first = ran.answer("resolve")
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    ran.commit("Faster")
    answer = ran.answer("run")
    assert answer["process"]["job"] is None
    assert answer["version"]["data_git_commit_id"] == first["data_git_commit_id"]
    assert answer["version"]["run_fingerprint"] != first["run_fingerprint"]
    assert answer["register"]["version"] == 2


def test_a_readme_trains_nothing(ran: Small) -> None:
    (ran.work / "README.md").write_text("hello\n")
    ran.commit("Words")
    answer = ran.answer("run")
    assert answer["train"]["reused"]
    assert answer["register"]["version"] == 1


def test_an_override_is_another_training_and_data_overrides_are_refused(ran: Small) -> None:
    answer = ran.answer("run", "--param", "train.lr=0.7")
    assert answer["register"]["version"] == 2
    assert answer["train"]["metrics"]["accuracy"] == pytest.approx(0.75)
    refused = ran.clew("run", "--param", "prepare.count=9")
    assert refused.returncode == 2
    assert "params.yaml" in refused.stderr
    misspelt = ran.clew("run", "--param", "train.lrr=9")
    assert misspelt.returncode == 2
    assert "train.lr" in misspelt.stderr


def test_a_squash_merge_reuses_the_model_and_the_data_commit(ran: Small) -> None:
    ran.git("checkout", "-qb", "feature")
    ran.edit("params.yaml", "count: 5", "count: 7")
    ran.commit("Feature data")
    on_branch = ran.answer("run")
    assert on_branch["register"]["aliases"] == ["candidate"]
    ran.git("checkout", "-q", "main")
    ran.git("merge", "-q", "--squash", "feature")
    ran.commit("Squashed")
    ran.git("branch", "-qD", "feature")
    merged = ran.answer("run")
    assert merged["train"]["reused"]
    assert merged["version"]["data_git_commit_id"] == on_branch["version"]["data_git_commit_id"]
    assert merged["register"]["version"] == on_branch["register"]["version"]
    assert merged["register"]["aliases"] == ["candidate", "production"]


def test_a_refused_gate_keeps_the_run_and_promotes_nothing(ran: Small) -> None:
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.28")
    ran.commit("Worse")
    done = ran.clew("run", "--json")
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert answer["evaluate"]["baseline"] == "models:/small-model/1"
    assert answer["register"]["held_back"] == "a gate refused it"
    state = tracked(ran)
    assert state["aliases"] == [("candidate", 1), ("production", 1)]
    assert ("train", "FINISHED") in state["runs"]
    assert (2, "clew.gate", "refused") in state["version tags"]


def test_a_job_that_fails_leaves_a_failed_run_with_its_lineage(ran: Small) -> None:
    ran.edit("params.yaml", "fail: false", "fail: true")
    ran.commit("Broken")
    done = ran.clew("run")
    assert done.returncode == 4
    assert "the loss is NaN" in done.stderr
    state = tracked(ran)
    assert state["runs"][("train", "FAILED")] == 1
    assert state["runs"][("run", "FAILED")] == 1
    assert len(state["versions"]) == 1
    keys = [
        key for stage, key, value in state["lineage"] if (stage, key) == ("train", "train.fail")
    ]
    assert len(keys) == 2


def test_a_failed_processing_is_recorded_too(ran: Small) -> None:
    ran.edit("params.yaml", "count: 5", "count: many")
    ran.commit("Broken data")
    assert ran.clew("run").returncode == 4
    assert tracked(ran)["runs"][("process", "FAILED")] == 1


def test_an_unpushed_commit_is_marked_and_not_promoted_until_it_is_pushed(ran: Small) -> None:
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    ran.commit("Not pushed", push=False)
    answer = ran.answer("run")
    assert "no Git remote has the commit" in answer["register"]["held_back"]
    assert tracked(ran)["aliases"] == [("candidate", 1), ("production", 1)]
    ran.git("push", "-q", "origin", "main")
    again = ran.answer("run")
    assert again["train"]["reused"]
    assert again["register"]["aliases"] == ["candidate", "production"]


def test_unpushed_data_stays_here_until_its_commit_is_pushed(ran: Small) -> None:
    before = ran.git("for-each-ref", cwd=ran.origin)
    ran.edit("params.yaml", "count: 5", "count: 6")
    ran.commit("Not pushed", push=False)
    answer = ran.answer("run")
    assert answer["register"]["held_back"]
    assert ran.git("for-each-ref", cwd=ran.origin) == before
    assert ran.git("status", "--porcelain") == ""
    ran.git("push", "-q", "origin", "main")
    again = ran.answer("run")
    assert again["train"]["reused"]
    assert again["register"]["held_back"] == ""
    assert again["version"]["data_version"] in ran.git("tag", cwd=ran.origin).split()


def test_a_dirty_tree_is_tried_out_marked_and_never_promoted(ran: Small) -> None:
    before = end_state(ran)
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    answer = ran.answer("run", "--allow-dirty")
    assert answer["register"]["held_back"] == "it was trained from an uncommitted tree"
    after = end_state(ran)
    assert after["origin"] == before["origin"]
    assert after["aliases"] == before["aliases"]
    ran.commit("Now for real")
    clean = ran.answer("run")
    assert not clean["train"]["reused"]
    assert clean["register"]["held_back"] == ""


def test_each_step_stops_there_and_the_next_continues(small: Small) -> None:
    answer = small.answer("process")
    assert answer.keys() == {"process"}
    assert small.git("tag", cwd=small.origin) == ""
    answer = small.answer("version")
    assert answer.keys() == {"process", "version"}
    assert small.git("tag", cwd=small.origin) == answer["version"]["data_version"]
    for step in ("train", "evaluate", "register", "run"):
        small.answer(step)
    state = tracked(small)
    assert state["runs"].total() == 4
    assert set(dict(state["runs"])) == {
        (stage, "FINISHED") for stage in ("run", "process", "train", "evaluate")
    }
    assert len(state["versions"]) == 1
    assert len(end_state(small)["jobs"]) == 2


def test_dry_run_changes_nothing_and_says_what_would_happen(small: Small) -> None:
    before = end_state(small)
    plan = small.answer("run", "--dry-run")
    assert [row["action"] for row in plan] == ["create", *["unknown"] * 4]
    assert end_state(small) == before


def test_dry_run_makes_no_mlflow_store(ran: Small) -> None:
    shutil.rmtree(ran.work / ".clew")
    plan = {row["step"]: row["action"] for row in ran.answer("run", "--dry-run")}
    assert (plan["process"], plan["train"]) == ("exists", "create")
    assert not (ran.work / ".clew/mlflow.db").exists()


def test_version_alone_shows_it_on_the_branch(small: Small) -> None:
    small.answer("version")
    tag = small.answer("resolve")["data_version"]
    assert small.git("rev-list", "-n1", tag) == small.git("rev-parse", "main", cwd=small.origin)


def test_dry_run_of_what_exists(ran: Small) -> None:
    plan = {row["step"]: row["action"] for row in ran.answer("run", "--dry-run")}
    assert plan["process"] == plan["version"] == plan["train"] == plan["register"] == "exists"


def test_two_runs_at_once_end_with_one_version(small: Small) -> None:
    command = [str(Path(shutil.which("python") or "python")), "-m", "clew", "run"]
    import sys

    command[0] = sys.executable
    both = [
        subprocess.Popen(
            command,
            cwd=small.work,
            env=small.environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    state = end_state(small)
    assert len(state["versions"]) == 1
    assert len(state["jobs"]) == 2
    assert len([ref for ref in state["origin"] if "refs/tags" in ref]) == 1
    assert state["runs"] == {
        (stage, "FINISHED"): 1 for stage in ("run", "process", "train", "evaluate")
    }


def test_a_push_in_between_is_kept_and_nothing_is_forced(small: Small) -> None:
    other = small.folder / "other"
    small.git("clone", "-q", str(small.origin), str(other), cwd=small.folder)
    (other / "NOTES.md").write_text("from a colleague\n")
    small.git("add", "-A", cwd=other)
    small.git("commit", "-qm", "Notes", cwd=other)
    small.git("push", "-q", "origin", "main", cwd=other)
    theirs = small.git("rev-parse", "main", cwd=small.origin)
    answer = small.answer("run")
    head = small.git("rev-parse", "main", cwd=small.origin)
    assert small.git("rev-parse", f"{head}^", cwd=small.origin) == theirs
    assert "dvc.lock" in small.git("show", "--name-only", "--format=", head, cwd=small.origin)
    tag = answer["version"]["data_version"]
    assert small.git("cat-file", "-t", tag, cwd=small.origin) == "tag"


def test_a_protected_branch_gets_an_offer_and_the_run_goes_on(small: Small) -> None:
    hook = small.origin / "hooks/pre-receive"
    hook.write_text(
        '#!/bin/sh\nwhile read old new ref; do test "$ref" != refs/heads/main || exit 1; done\n'
    )
    hook.chmod(0o755)
    answer = small.answer("run")
    branches = small.git("branch", "--format=%(refname:short)", cwd=small.origin).split()
    assert any(branch.startswith("clew/") for branch in branches)
    assert answer["register"]["created"]


def test_a_pipeline_in_a_folder_of_its_own(small: Small) -> None:
    inner = small.work / "models/x"
    inner.mkdir(parents=True)
    for name in ("stages", "data", "dvc.yaml", "params.yaml", "pipeline.yaml", "uv.lock"):
        (small.work / name).rename(inner / name)
    (small.work / ".gitignore").write_text(".clew/\n__pycache__/\n")
    (inner / ".gitignore").write_text("/model\n/metrics.json\n/data/prepared\n")
    small.commit("Several pipelines")
    answer = small.answer("run", "--pipeline", "models/x/pipeline.yaml")
    assert answer["register"]["created"]
    assert answer["version"]["outputs"][0]["path"] == "data/prepared"
    assert "models/x/dvc.lock" in small.git("show", "--name-only", "--format=", "HEAD")
    again = small.clew("run", "--json", cwd=inner)
    assert json.loads(again.stdout)["train"]["reused"], again.stderr


def test_a_detached_head_tags_and_moves_no_branch(small: Small) -> None:
    before = small.git("rev-parse", "main", cwd=small.origin)
    small.git("checkout", "-q", "--detach")
    answer = small.answer("run")
    assert small.git("rev-parse", "main", cwd=small.origin) == before
    tag = small.git("rev-list", "-n1", answer["version"]["data_version"], cwd=small.origin)
    assert tag == answer["version"]["data_git_commit_id"] != before
    assert answer["register"]["aliases"] == ["candidate"]


def test_a_worktree_and_a_branch_with_an_odd_name(small: Small) -> None:
    tree, branch = small.folder / "tree", "feat/$(touch${IFS}pwned)-ü;x"
    small.git("worktree", "add", "-q", "-b", branch, str(tree))
    small.git("push", "-q", "origin", branch)
    done = small.clew("run", "--json", cwd=tree)
    assert done.returncode == 0, done.stderr
    assert not list(small.folder.rglob("pwned"))
    head = small.git("rev-parse", "HEAD", cwd=tree)
    assert head == json.loads(done.stdout)["version"]["data_git_commit_id"]
    refs = small.git("for-each-ref", "--format=%(refname) %(objectname)", cwd=small.origin)
    assert f"refs/heads/{branch} {head}" in refs.splitlines()
