"""How a difference is divided: the shares add up, and who does nothing gets nothing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.report.attribution import combinations, divide, scatter
from clew.report.facts import PARTS

Parts = frozenset[str]
VALUES = st.floats(min_value=-1e3, max_value=1e3)


def everything(parts: tuple[str, ...]) -> list[Parts]:
    return [frozenset(), *combinations(parts, every=True), frozenset(parts)]


@st.composite
def trainings(draw: st.DrawFn) -> tuple[tuple[str, ...], dict[Parts, Mapping[str, float]]]:
    count = draw(st.integers(min_value=1, max_value=4))
    parts = tuple(draw(st.permutations(PARTS))[:count])
    return parts, {some: {"m": draw(VALUES)} for some in everything(parts)}


@given(trainings())
def test_the_shares_add_up_to_the_difference(
    found: tuple[tuple[str, ...], dict[Parts, Mapping[str, float]]],
) -> None:
    parts, values = found
    whole = values[frozenset(parts)]["m"] - values[frozenset()]["m"]
    steps = {frozenset(), frozenset(parts), *combinations(parts, every=False)}
    for known in (values, {some: values[some] for some in steps}):
        _, shares = divide(parts, known, ["m"])
        assert sum(shares["m"].values()) == pytest.approx(whole, abs=1e-6)


def test_the_shapley_value_is_the_mean_over_all_orders() -> None:
    parts = ("data", "parameters", "code")
    values = {some: {"m": float(hash_of(some))} for some in everything(parts)}
    method, shares = divide(parts, values, ["m"])
    assert method == "shapley"
    orders = list(itertools.permutations(parts))
    for part in parts:
        steps = []
        for order in orders:
            before = frozenset(order[: order.index(part)])
            steps.append(values[before | {part}]["m"] - values[before]["m"])
        assert shares["m"][part] == pytest.approx(sum(steps) / len(orders))


def hash_of(some: Parts) -> int:
    """Return a number that is no sum of the parts' own: they depend on each other."""
    return sum(len(part) for part in some) ** 2


def test_some_combinations_are_enough_for_an_order_and_too_few_for_nothing() -> None:
    values = {some: {"m": float(len(some))} for some in everything(PARTS)}
    on_the_way = {some: values[some] for some in map(frozenset, (PARTS[:n] for n in range(5)))}
    assert divide(PARTS, on_the_way, ["m"])[0] == "in order"
    on_the_way.pop(frozenset(PARTS[:2]))
    assert divide(PARTS, on_the_way, ["m"]) == ("", {})


def test_one_part_alone_accounts_for_all() -> None:
    values: dict[Parts, dict[str, float]] = {frozenset(): {"m": 1.0}, frozenset(["code"]): {"m": 3}}
    assert divide(("code",), values, ["m"]) == ("only", {"m": {"code": 2.0}})


def test_a_metric_that_one_training_lacks_is_not_divided() -> None:
    values: dict[Parts, dict[str, float]] = {frozenset(): {}, frozenset(["code"]): {"m": 3}}
    assert divide(("code",), values, ["m"]) == ("only", {})


def test_noise_is_the_standard_deviation_of_what_all_have() -> None:
    runs = [{"m": 1.0, "x": 1.0}, {"m": 2.0}, {"m": 3.0}]
    assert scatter(runs, ["m", "x"]) == {"m": 1.0}
