"""The interval of a difference between two shares."""

from __future__ import annotations

import pytest

from clew.report.significance import difference


@pytest.mark.parametrize(
    ("base", "head", "expected"),
    [
        # Newcombe 1998, table II: method 10 for 56/70 - 48/80 and 9/10 - 3/10
        ((48 / 80, 80.0), (56 / 70, 70.0), (0.0524, 0.3339)),
        ((3 / 10, 10.0), (9 / 10, 10.0), (0.1705, 0.8090)),
    ],
)
def test_the_interval_is_the_published_one(
    base: tuple[float, float], head: tuple[float, float], expected: tuple[float, float]
) -> None:
    found = difference(*base, *head)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(expected, abs=5e-5)
    assert found.significant


@pytest.mark.parametrize(
    "values", [(0.5, None, 0.6, 10.0), (0.5, 10.0, 0.6, 0.0), (1.5, 10.0, 0.6, 10.0)]
)
def test_no_interval_without_shares_of_known_n(
    values: tuple[float, float | None, float, float | None],
) -> None:
    assert difference(*values) is None
