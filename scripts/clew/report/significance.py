"""Whether two shares differ by more than chance, from how many cases each was measured on."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.959964  # of a 95% interval


@dataclass(frozen=True)
class Interval:
    """A 95% interval of the difference between two shares."""

    low: float
    high: float
    cases: tuple[int, int]

    @property
    def significant(self) -> bool:
        return self.low > 0 or self.high < 0


def difference(
    base: float, base_cases: float | None, head: float, head_cases: float | None
) -> Interval | None:
    """Return the interval of head - base; None where n is not known or no share is given.

    Newcombe's hybrid score interval for independent samples (Statistics in Medicine 17, 1998,
    method 10). Where both were measured on the same cases it is wider than need be.
    """
    if not base_cases or not head_cases or not (0 <= base <= 1 and 0 <= head <= 1):
        return None
    base_low, base_high = _wilson(base, base_cases)
    head_low, head_high = _wilson(head, head_cases)
    delta = head - base
    low = delta - math.hypot(head - head_low, base_high - base)
    high = delta + math.hypot(head_high - head, base - base_low)
    return Interval(low, high, (int(base_cases), int(head_cases)))


def _wilson(share: float, cases: float) -> tuple[float, float]:
    centre = share + Z * Z / (2 * cases)
    half = Z * math.sqrt(share * (1 - share) / cases + Z * Z / (4 * cases * cases))
    scale = 1 + Z * Z / cases
    return (centre - half) / scale, (centre + half) / scale
