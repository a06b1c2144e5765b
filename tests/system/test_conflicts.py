"""Two sides that both changed the data: one command ends it, and nothing is merged by hand."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.small import Small, copied

COMMAND = re.compile(r"`(git [^`]* && clew run)`")
OPERATIONS: dict[str, Callable[[Small], list[str]]] = {
    "merge": lambda small: ["merge", "more"],
    "rebase": lambda small: ["rebase", "more"],
    "cherry-pick": lambda small: ["cherry-pick", "main..more"],
}


@pytest.fixture(scope="module")
def forked(finished: Small, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """On main the raw data is new, on the branch `more` there is more of it; both were run."""
    small = copied(finished, tmp_path_factory.mktemp("forked"))
    small.git("switch", "-qc", "more")
    small.edit("params.yaml", "count: 5", "count: 6")
    processed(small, "More data")
    small.git("switch", "-q", "main")
    small.edit("data/raw.txt", "raw", "new")
    processed(small, "New raw data")
    return small


@pytest.fixture
def sides(forked: Small, tmp_path: Path) -> Small:
    return copied(forked, tmp_path)


def processed(small: Small, message: str) -> None:
    small.commit(message)
    done = small.clew("version")
    assert done.returncode == 0, done.stderr


def conflicting(small: Small, *arguments: str) -> None:
    done = subprocess.run(
        ["git", *arguments], cwd=small.work, env=small.environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "CONFLICT" in done.stdout, done.stdout + done.stderr


def obey(small: Small, said: str) -> None:
    """Give the one command that was named, as a user would paste it."""
    found = COMMAND.search(said)
    assert found, said
    done = subprocess.run(
        found[1], shell=True, cwd=small.work, env=small.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def data(small: Small) -> dict[str, str]:
    """Return the data that HEAD trains on, as anybody would get it from the DVC remote."""
    shutil.rmtree(small.work / ".dvc/cache", ignore_errors=True)
    shutil.rmtree(small.work / "data/prepared", ignore_errors=True)
    small.dvc("pull", "-q", "data/prepared")
    return {path.name: path.read_text() for path in (small.work / "data/prepared").iterdir()}


BOTH = {f"{number}.txt": f"new {number}\n" for number in range(6)}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_unfinished_merge(sides: Small, operation: str) -> None:
    conflicting(sides, *OPERATIONS[operation](sides))
    assert "<<<<<<<" in (sides.work / "dvc.lock").read_text()
    done = sides.clew("run")
    assert done.returncode == 2
    assert f"a {operation} is not finished" in done.stderr
    assert sides.clew("check").returncode == 2
    obey(sides, done.stderr)
    assert data(sides) == BOTH
    assert not sides.git("status", "--porcelain")


def test_a_lock_that_one_side_deleted(sides: Small) -> None:
    sides.git("rm", "-q", "dvc.lock")
    sides.commit("Without it")
    conflicting(sides, "merge", "more")
    said = sides.clew("run").stderr
    assert "git rm --quiet dvc.lock" in said
    obey(sides, said)
    assert data(sides) == BOTH


def test_every_command_says_the_same(sides: Small) -> None:
    conflicting(sides, "merge", "more")
    run, resolve = sides.clew("run").stderr, sides.clew("resolve")
    check = sides.clew("check").stdout
    dirty = sides.clew("process", "--allow-dirty").stderr
    commands = {COMMAND.findall(text)[0] for text in (run, resolve.stderr, check, dirty)}
    assert len(commands) == 1
    assert resolve.returncode == 0
    assert sides.git("rev-parse", "HEAD") in resolve.stdout


def test_committed_markers(sides: Small) -> None:
    conflicting(sides, "merge", "more")
    sides.commit("Merge more")
    for command in ("run", "resolve", "process"):
        done = sides.clew(command)
        assert done.returncode == 2
        assert "dvc.lock has conflict markers" in done.stderr
    checked = sides.clew("check")
    assert "dvc.lock has conflict markers" in checked.stdout
    assert COMMAND.search(checked.stdout)
    (sides.work / "notes.txt").write_text("a commit later\n")
    sides.commit("Notes")
    obey(sides, sides.clew("run").stderr)
    assert data(sides) == BOTH


def test_markers_in_every_dvc_lock_there_ever_was(small: Small) -> None:
    (small.work / "dvc.lock").write_text("<<<<<<< ours\n=======\n>>>>>>> theirs\n")
    small.commit("Broken from the start")
    obey(small, small.clew("run").stderr)
    assert len(data(small)) == 5


def test_sources_that_conflict_too_come_first(sides: Small) -> None:
    sides.edit("params.yaml", "count: 5", "count: 7")
    sides.commit("Yet more")
    conflicting(sides, "merge", "more")
    said = sides.clew("run").stderr
    assert "params.yaml" in said
    assert said.index("git add params.yaml") < said.index("git checkout HEAD -- dvc.lock")
    (sides.work / "params.yaml").write_text("prepare: {count: 8}\ntrain: {lr: 0.5, fail: false}\n")
    sides.git("add", "params.yaml")
    obey(sides, sides.clew("run").stderr)
    assert len(data(sides)) == 8


@pytest.mark.parametrize("path", ["params.yaml", "dvc.yaml", "pipeline.yaml"])
def test_markers_in_a_source(ran: Small, path: str) -> None:
    text = (ran.work / path).read_text()
    (ran.work / path).write_text(f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> more\n")
    ran.commit("Merge")
    done = ran.clew("run")
    assert done.returncode == 2
    assert f"{path} has conflict markers" in done.stderr
    assert f"git add {path} && git commit" in done.stderr


def test_added_data_that_both_sides_changed(ran: Small) -> None:
    """A *.dvc file is a source, too: nobody but its owner knows what the data should be."""
    shutil.move(ran.work / "data/raw.txt", ran.work / "raw.txt")
    ran.git("rm", "-q", "--cached", "data/raw.txt")
    shutil.move(ran.work / "raw.txt", ran.work / "data/raw.txt")
    ran.dvc("add", "-q", "data/raw.txt")
    ran.commit("Leave raw data to DVC")
    ran.git("switch", "-qc", "more")
    added(ran, "one\n")
    ran.git("switch", "-q", "main")
    added(ran, "two\n")
    conflicting(ran, "merge", "more")
    said = ran.clew("run").stderr
    assert "data/raw.txt.dvc changed on both sides" in said
    assert "`dvc add`" in said
    ran.git("checkout", "--theirs", "data/raw.txt.dvc")
    ran.dvc("checkout", "-q", "data/raw.txt.dvc")
    ran.git("add", "data/raw.txt.dvc")
    ran.git("commit", "--no-edit", "-q")
    done = ran.clew("run")
    assert done.returncode == 0, done.stderr
    assert data(ran)["0.txt"] == "one 0\n"


def added(small: Small, content: str) -> None:
    raw = small.work / "data/raw.txt"
    raw.unlink(missing_ok=True)
    raw.write_text(content)
    small.dvc("add", "-q", "data/raw.txt")
    small.commit(f"Raw data is {content}")


def refactored(small: Small, new: str) -> None:
    """Merge new raw data with other code, which each side alone has run; Git sees no conflict."""
    small.git("switch", "-qc", "code")
    small.edit("stages/prepare.py", "{raw[0]}", new)
    processed(small, "Treat new data otherwise")
    small.git("switch", "-q", "main")
    small.edit("data/raw.txt", "raw", "new")
    processed(small, "New raw data")
    small.git("merge", "-q", "--no-edit", "code")
    small.git("push", "-q", "origin", "main")
    assert "changed deps" not in small.dvc("status", "prepare")  # DVC sees nothing to do


def jobs(small: Small) -> int:
    return len(list((small.work / ".clew/jobs").glob("small-process-*")))


def test_a_lock_that_git_put_together_without_a_conflict_is_made_again(ran: Small) -> None:
    refactored(ran, "{raw[0].replace('new', 'NEW')}")
    before = jobs(ran)
    planned = ran.clew("run", "--dry-run")
    assert "a processing job for prepare" in planned.stdout
    done = ran.clew("run")
    assert done.returncode == 0, done.stderr
    assert "put prepare in dvc.lock together from both sides" in done.stderr
    assert data(ran) == {f"{number}.txt": f"NEW {number}\n" for number in range(5)}
    assert jobs(ran) == before + 1
    assert "dvc.lock is up to date" in ran.clew("run").stderr


def test_a_lock_that_was_right_by_chance_is_made_again_once(ran: Small) -> None:
    refactored(ran, "{str(raw[0])}")
    before = jobs(ran)
    assert ran.clew("run").returncode == 0
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    ran.commit("Train on")
    done = ran.clew("run")
    assert done.returncode == 0, done.stderr
    assert "dvc.lock is up to date" in done.stderr
    assert jobs(ran) == before + 1
