"""Raw data that `dvc add` keeps: a job gets it from the remote, and only from there."""

from __future__ import annotations

import shutil

import pytest

from tests.system.small import Small
from tests.system.state import end_state


@pytest.fixture
def raw(small: Small) -> Small:
    """The small pipeline with raw data under DVC, and a stage that pipeline.yaml leaves out."""
    small.git("rm", "-q", "--cached", "data/raw.txt")
    (small.work / "data/raw.txt").rename(small.work / "data/origin.txt")
    small.dvc("add", "-q", "data/origin.txt")
    files = "deps: [data/origin.txt], outs: [data/raw.txt]"
    unpack = f"  unpack: {{cmd: cp data/origin.txt data/raw.txt, {files}}}"
    small.edit("dvc.yaml", "stages:\n  prepare:", f"stages:\n{unpack}\n  prepare:")
    small.commit("Keep the raw data with DVC")
    return small


def test_what_was_never_pushed_is_pushed_from_the_cache(raw: Small) -> None:
    done = raw.clew("run")
    assert done.returncode == 0, done.stderr
    assert "pushing data that only the local cache has" in done.stderr
    shutil.rmtree(raw.work / ".dvc/cache")
    raw.dvc("pull", "-q", "data/origin.txt", "data/prepared")
    assert raw.answer("run")["train"]["reused"]


def test_inputs_of_data_that_was_made_by_hand_are_pushed_too(raw: Small) -> None:
    raw.dvc("repro", "-q", "prepare")
    raw.commit("Made by hand, and never pushed")
    done = raw.clew("run")
    assert done.returncode == 0, done.stderr
    assert "nothing to run" in done.stderr
    shutil.rmtree(raw.work / ".dvc/cache")
    raw.dvc("pull", "-q", "data/origin.txt", "data/prepared")


@pytest.mark.parametrize("lost", [True, False], ids=["nowhere", "overwritten"])
def test_what_cannot_be_had_is_refused_before_a_job(raw: Small, lost: bool) -> None:
    raw.dvc("push", "-q")
    shutil.rmtree(raw.work / ".dvc/cache")
    for path in [p for p in raw.storage.rglob("*") if p.is_file()]:
        path.chmod(0o644)
        path.unlink() if lost else path.write_text("other bytes")
    before = end_state(raw)
    done = raw.clew("run")
    assert done.returncode == 3, done.stderr
    assert "data/origin.txt" in done.stderr
    assert ("dvc push" if lost else "other bytes") in done.stderr
    assert end_state(raw) == before


def test_a_stage_that_fails_shows_its_own_words_and_no_others(raw: Small) -> None:
    raw.edit("stages/train.py", "print(", "raise SystemExit('no money left')\nprint(")
    raw.commit("Break it")
    done = raw.clew("run")
    assert done.returncode == 4
    assert "no money left" in done.stderr.splitlines()[-2]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["raw again\n", "war\n"], ids=["longer", "as long"])
def test_what_was_changed_and_not_added_is_refused(raw: Small, text: str) -> None:
    assert raw.clew("run").returncode == 0
    (raw.work / "data/origin.txt").write_text(text)
    before = end_state(raw)
    for command in (["run"], ["check"], ["run", "--allow-dirty"]):
        done = raw.clew(*command)
        assert done.returncode == 2
        assert "dvc add data/origin.txt" in done.stdout + done.stderr
    assert end_state(raw) == before
    raw.dvc("add", "-q", "data/origin.txt")
    assert raw.clew("run", "--allow-dirty").returncode == 0
