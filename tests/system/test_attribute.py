"""`clew attribute`: mixed trainings tell causes apart, and never become models that anyone uses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.system.small import Small
from tests.system.state import end_state, tracked


def jobs(small: Small) -> list[str]:
    return sorted(path.name for path in (small.work / ".clew/jobs").glob("small-train-*"))


def registry(small: Small) -> tuple[Any, Any]:
    found = tracked(small)
    return found["versions"], found["aliases"]


def changed_twice(small: Small) -> str:
    """Give the pipeline three more records and a lower rate, train, and return the base."""
    base = small.git("rev-parse", "HEAD")
    small.edit("params.yaml", "count: 5", "count: 8")
    small.edit("params.yaml", "lr: 0.5", "lr: 0.45")
    small.commit("More data, slower")
    assert small.clew("run").returncode == 0
    return base


def rounded(shares: dict[str, float]) -> dict[str, float]:
    return {part: round(value, 9) for part, value in shares.items()}


def test_two_causes_are_told_apart_by_one_training(ran: Small) -> None:
    small, base = ran, changed_twice(ran)
    before, state, known = registry(small), end_state(small), jobs(small)
    report = small.clew("report", "--base", base).stdout
    assert "the data and parameters changed, not yet told apart" in report
    assert f"clew attribute --base {base[:12]}" in report
    (trial,) = small.answer("attribute", "--base", base, "--dry-run")["trials"]
    assert trial["action"] == "create"
    assert trial["what"].startswith("data of ")
    unasked = small.clew("attribute", "--base", base)
    assert unasked.returncode == 2
    assert "--yes" in unasked.stderr
    assert end_state(small) == state

    found = small.answer("attribute", "--base", base, "--yes")
    assert found["method"] == "in order"
    assert rounded(found["shares"]["accuracy"]) == {"data": 0.03, "parameters": -0.05}
    assert len(jobs(small)) == len(known) + 1
    assert registry(small) == before
    assert end_state(small)["origin"] == state["origin"]
    report = small.clew("report", "--base", base).stdout
    assert "**−2.0 points** <code>accuracy</code>: data +3.0, parameters −5.0." in report  # noqa: RUF001
    again = small.answer("attribute", "--base", base, "--yes")
    assert again == found
    assert len(jobs(small)) == len(known) + 1


def test_all_combinations_give_the_shapley_value(ran: Small) -> None:
    base = changed_twice(ran)
    found = ran.answer("attribute", "--base", base, "--every", "--yes")
    assert (found["method"], found["known"], found["wanted"]) == ("shapley", 2, 2)
    assert rounded(found["shares"]["accuracy"]) == {"data": 0.03, "parameters": -0.05}


def test_a_commit_that_equals_a_combination_is_trained_by_itself(ran: Small) -> None:
    base = changed_twice(ran)
    ran.answer("attribute", "--base", base, "--yes")
    ran.edit("params.yaml", "lr: 0.45", "lr: 0.5")
    ran.commit("Only more data after all")
    answer = ran.answer("run")
    assert not answer["train"]["reused"]
    assert answer["register"]["aliases"] == ["candidate", "production"]
    assert ran.answer("trace", answer["register"]["uri"])["verdict"] == "PASS"
    found = ran.answer("report", "--base", base)["attribution"]
    assert found["method"] == "only"


@pytest.fixture
def seeded(ran: Small) -> Small:
    """A pipeline whose accuracy depends on a seed a little."""
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.5, seed: 1")
    ran.edit("stages/train.py", '"lr": params["lr"]', '"lr": params["lr"] + params["seed"] / 100')
    ran.commit("A seed")
    assert ran.clew("run").returncode == 0
    return ran


def test_seeds_tell_how_much_is_noise(seeded: Small) -> None:
    before = registry(seeded)
    found = seeded.answer("attribute", "--seeds", "2", "--yes")
    assert found["seeds"] == 3
    assert found["noise"]["accuracy"] == pytest.approx(0.01)  # of 0.56, 0.57, 0.58
    assert registry(seeded) == before
    text = seeded.clew("report").stdout
    assert "seed noise ±1.0." in text
    assert "the standard deviation over 3 seeds" in text


def test_a_seed_that_cannot_be_guessed_is_asked_for(ran: Small) -> None:
    changed_twice(ran)
    done = ran.clew("attribute", "--seeds", "1", "--dry-run")
    assert done.returncode == 2
    assert "--seed-param" in done.stderr


def test_parts_that_hang_together_are_said_to_and_keep_no_other_from_running(ran: Small) -> None:
    base = ran.git("rev-parse", "HEAD")
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.5, bonus: 0.1")
    ran.edit("params.yaml", "count: 5", "count: 8")
    ran.edit("stages/train.py", '"lr": params["lr"]', '"lr": params["lr"] + params["bonus"]')
    ran.commit("A parameter, the code that reads it, and data")
    assert ran.clew("run").returncode == 0
    done = ran.clew("attribute", "--base", base, "--every", "--yes")
    assert done.returncode == 4
    assert "Parts that only work together can't be told apart" in done.stderr
    attribution = ran.answer("report", "--base", base)["attribution"]
    assert attribution["method"] == "in order"
    assert attribution["known"] == 4  # of 6: code without its parameter does not run


def test_what_was_never_trained_is_refused(ran: Small) -> None:
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.4")
    ran.commit("Never trained")
    done = ran.clew("attribute", "--dry-run")
    assert done.returncode == 2
    assert "clew run --commit" in done.stderr
