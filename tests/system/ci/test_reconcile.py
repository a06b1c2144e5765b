"""One branch that is wrong in itself takes the schedule's run from no other branch."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.system.ci.events import scheduled
from tests.system.small import Small


def break_stages(small: Small) -> None:
    small.edit("dvc.yaml", "stages:", "stages: [")


def break_pipeline(small: Small) -> None:
    small.edit("pipeline.yaml", "name: small", "nam: small")


def leave_markers(small: Small) -> None:
    lock = small.work / "dvc.lock"
    lock.write_text(f"<<<<<<< HEAD\n{lock.read_text()}=======\n>>>>>>> more\n")


def move_tag(small: Small) -> None:
    """Make the data of a branch, and put its tag on a commit with other data."""
    small.edit("params.yaml", "count: 5", "count: 6")
    small.commit("More data")
    small.answer("process")
    tag = small.answer("version")["version"]["data_version"]
    small.git("tag", "-f", "-a", "-m", "Moved", tag, "main")


WRONG: dict[Callable[[Small], None], tuple[str, int]] = {
    break_stages: ("dvc.yaml is broken YAML", 0),
    break_pipeline: ("did you mean 'name'?", 0),
    leave_markers: ("&& git commit -m", 0),
    move_tag: ("A data version never moves", 3),
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_a_branch_that_is_wrong_stops_no_other(ran: Small, wrong: Callable[[Small], None]) -> None:
    ran.git("checkout", "-qb", "a-wrong-one")
    wrong(ran)
    if wrong is not move_tag:
        ran.commit("Wrong")
    ran.git("checkout", "-q", "main")
    ran.git("checkout", "-qb", "good")
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    ran.commit("Faster")
    ran.git("checkout", "-q", "main")
    words, code = WRONG[wrong]
    listed = ran.clew("reconcile", "--dry-run", "--json")
    assert listed.returncode == code, listed.stderr
    bad, good = json.loads(listed.stdout)["runs"]
    assert (bad["branch"], bad["outcome"]) == ("a-wrong-one", "left")
    assert words in bad["detail"]
    assert (good["branch"], good["outcome"]) == ("good", "pending")
    done = scheduled(ran).clew("ci", "--json")
    assert done.returncode == code, done.stderr
    outcomes = {row["branch"]: row["outcome"] for row in json.loads(done.stdout)["runs"]}
    assert outcomes == {"a-wrong-one": "left", "good": "finished"}


def test_a_branch_may_name_its_stages_anew(ran: Small) -> None:
    ran.git("checkout", "-qb", "renamed")
    ran.edit("dvc.yaml", "  evaluate:", "  assess:")
    ran.edit("pipeline.yaml", "[train, evaluate]", "[train, assess]")
    ran.commit("Another name")
    ran.git("checkout", "-q", "main")
    (row,) = scheduled(ran).answer("ci")["runs"]
    assert (row["branch"], row["outcome"]) == ("renamed", "finished")
