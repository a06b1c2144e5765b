"""Gates: what passes, what is refused, and what can't be judged."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.config.model import Gate
from clew.errors import ConfigError, Unverifiable
from clew.evaluate import judge

finite = st.floats(-1e6, 1e6)


def passed(gate: Gate, value: float, baseline: float | None = None) -> bool:
    before = None if baseline is None else {gate.metric: baseline}
    return all(result.passed for result in judge([gate], {gate.metric: value}, before))


@pytest.mark.parametrize(
    ("gate", "value", "baseline", "expected"),
    [
        (Gate("a", min=0.5), 0.5, None, True),
        (Gate("a", min=0.5), 0.49, None, False),
        (Gate("a", max=0.5), 0.5, None, True),
        (Gate("a", max=0.5), 0.51, None, False),
        (Gate("a", max_regression=0.125), 0.75, 0.875, True),
        (Gate("a", max_regression=0.125), 0.7, 0.875, False),
        (Gate("a", max_regression=0.0), 0.875, 0.875, True),
        (Gate("a", min_improvement=0.125), 1.0, 0.875, True),
        (Gate("a", min_improvement=0.125), 0.9, 0.875, False),
        (Gate("loss", max_regression=0.125, direction="lower"), 0.5, 0.375, True),
        (Gate("loss", max_regression=0.125, direction="lower"), 0.6, 0.375, False),
        (Gate("loss", min_improvement=0.125, direction="lower"), 0.25, 0.375, True),
        (Gate("loss", min_improvement=0.125, direction="lower"), 0.3, 0.375, False),
    ],
)
def test_each_rule(gate: Gate, value: float, baseline: float | None, expected: bool) -> None:
    assert passed(gate, value, baseline) is expected


@given(finite, finite)
def test_min_and_max_are_what_they_say(value: float, limit: float) -> None:
    assert passed(Gate("a", min=limit), value) is (value >= limit)
    assert passed(Gate("a", max=limit), value) is (value <= limit)


GATES = {
    "min": Gate("a", min=0.1),
    "max": Gate("a", max=0.1),
    "max_regression": Gate("a", max_regression=0.1),
    "min_improvement": Gate("a", min_improvement=0.1),
}


@pytest.mark.parametrize("rule", GATES)
@pytest.mark.parametrize("baseline", [None, 0.5])
def test_not_a_number_never_passes(rule: str, baseline: float | None) -> None:
    assert not passed(GATES[rule], math.nan, baseline)


def test_no_baseline_yet_is_a_stated_case() -> None:
    (result,) = judge([Gate("a", min_improvement=0.1)], {"a": 0.5}, None, "(none yet)")
    assert result.passed
    assert result.note == "(none yet)"
    assert result.baseline is None


@pytest.mark.parametrize("baseline", [{}, {"a": math.nan}])
def test_a_baseline_without_the_metric_is_unverifiable(baseline: dict[str, float]) -> None:
    with pytest.raises(Unverifiable, match="'a'"):
        judge([Gate("a", max_regression=0.1)], {"a": 0.5}, baseline)


def test_a_metric_that_was_not_written_is_named_with_those_that_were() -> None:
    with pytest.raises(ConfigError) as error:
        judge([Gate("acuracy", min=0.1)], {"accuracy": 0.5}, None)
    assert "acuracy" in str(error.value)
    assert "accuracy" in error.value.fix
