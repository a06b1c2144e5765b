"""When a training counts as done already, and when its model may be promoted again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.system.small import Small
from tests.system.state import tracked


def clone(small: Small, folder: Path) -> Small:
    """Return another clone of the origin that shares the DVC remote and the MLflow database."""
    database = f"sqlite:///{small.work}/.clew/mlflow.db"
    other = Small(folder, variables={"MLFLOW_TRACKING_URI": database})
    folder.mkdir()
    shutil.copytree(small.folder / "home", folder / "home")
    small.git("clone", "-q", str(small.origin), str(other.work))
    other.git("config", "remote.origin.url", str(small.origin))
    other.dvc("remote", "modify", "--local", "storage", "url", str(small.storage))
    return other


def learn(small: Small, lr: float, *, push: bool = True) -> str:
    small.edit("params.yaml", "lr: 0.5", f"lr: {lr}")
    return small.commit(f"Learn at {lr}", push=push)


def test_a_clone_that_lacks_the_newer_commit_moves_no_alias_back(
    ran: Small, tmp_path: Path
) -> None:
    old = ran.git("rev-parse", "HEAD")
    stale = clone(ran, tmp_path / "stale")
    learn(ran, 0.6)
    assert ran.answer("run")["register"]["version"] == 2
    answer = stale.answer("run", "--commit", old, "--branch", "main")
    assert answer["register"]["version"] == 1
    assert tracked(ran)["aliases"] == [("candidate", 2), ("production", 2)]


def test_a_model_of_a_commit_that_nobody_pushed_stays_unfit(ran: Small) -> None:
    learn(ran, 0.6, push=False)
    assert ran.answer("run")["register"]["held_back"]
    ran.git("commit", "-q", "--amend", "-m", "The same again")
    ran.git("push", "-q", "origin", "main")
    answer = ran.answer("run")
    assert answer["train"]["reused"]
    assert "no Git remote has the commit" in answer["register"]["held_back"]
    assert tracked(ran)["aliases"] == [("candidate", 1), ("production", 1)]


def test_two_params_of_one_commit_share_its_data_commit(small: Small, tmp_path: Path) -> None:
    other = clone(small, tmp_path / "other")
    small.answer("run", "--param", "train.lr=0.6")
    answer = other.answer("run", "--param", "train.lr=0.7", "--branch", "main")
    assert answer["version"]["data_git_commit_id"] == small.git("rev-parse", "HEAD")
    assert tracked(small)["versions"] == [1, 2]


@pytest.mark.parametrize("how", ["whole params.yaml", "template"])
def test_what_training_reads_by_deps_counts(ran: Small, how: str) -> None:
    if how == "template":
        (ran.work / "configs").mkdir()
        (ran.work / "configs/a.txt").write_text("one\n")
        deps = "[data/prepared, 'configs/${c}.txt']"
        ran.edit("dvc.yaml", "[data/prepared, stages/train.py]", deps)
        ran.edit("params.yaml", "prepare:", "c: a\nprepare:")
        ran.commit("By name")
        done = ran.clew("run")
        assert done.returncode == 2
        assert "configs/${c}.txt" in done.stderr
        assert "code.paths" in done.stderr
        return
    own = "stages/train.py]\n    params: [train]"
    ran.edit("dvc.yaml", own, "stages/train.py, params.yaml]")
    ran.commit("All of params.yaml")
    before = ran.answer("resolve")["run_fingerprint"]
    learn(ran, 0.9)
    assert ran.answer("resolve")["run_fingerprint"] != before


def test_jobs_get_the_bytes_of_the_commit(ran: Small) -> None:
    ran.git("config", "filter.other.smudge", "sed s/trained/TAMPERED/")
    (ran.work / ".gitattributes").write_text("stages/train.py filter=other\n")
    ran.edit("stages/train.py", "trained on", "trained with")
    ran.commit("Filter")
    done = ran.clew("run")
    assert "TAMPERED" not in done.stderr
    if done.returncode:
        assert "is changed by Git on its way out" in done.stderr


def test_a_bundle_that_was_changed_is_made_again(ran: Small) -> None:
    commit = learn(ran, 0.6)
    assert ran.clew("run", "--dry-run").returncode == 0
    (bundle,) = (ran.work / ".clew/bundles").glob(f"{commit}.tar")
    bundle.write_bytes(bundle.read_bytes().replace(b"trained on", b"TAMPERED! "))
    done = ran.clew("run")
    assert done.returncode == 0
    assert "TAMPERED" not in done.stderr


def test_a_gate_may_name_what_an_earlier_training_wrote(ran: Small) -> None:
    ran.edit("pipeline.yaml", "higher: [accuracy]", "higher: [accuracy, n]")
    ran.edit("pipeline.yaml", "gates:\n", "gates:\n- {metric: n, min: 1}\n")
    ran.commit("Gate the number")
    answer = ran.answer("run")
    assert answer["evaluate"]["passed"]
    assert answer["train"]["reused"]


def test_params_never_pass_for_the_record(ran: Small) -> None:
    ran.edit("params.yaml", "train: {lr: 0.5,", "data_version: v3\ntrain: {lr: 0.5,")
    ran.edit("dvc.yaml", "params: [train]", "params: [train, data_version]")
    ran.commit("A name that is taken")
    done = ran.clew("run")
    assert done.returncode == 2
    assert "'data_version'" in done.stderr
