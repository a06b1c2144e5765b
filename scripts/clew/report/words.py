"""The report's sentences: the verdict and what a change is put down to, in clew's own words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from clew.report.document import Line, Name, Strong, plain
from clew.report.facts import PARTS, RATES, MetricRow, Report

STATUS_CHARACTERS = 140  # GitHub's limit for the description of a commit status
PASSED, REFUSED, UNSURE = "✅", "❌", "⚠️"


def verdict(report: Report) -> str:
    """Return one line of plain text, short enough for a commit status."""
    return plain([verdict_line(report)], STATUS_CHARACTERS)


def mark(report: Report) -> str:
    """Return the emoji of the verdict."""
    if report.data_only:
        unsure_of_data = bool(report.unread or report.head.stale)
        return REFUSED if report.problems else UNSURE if unsure_of_data else PASSED
    if report.refused:
        return REFUSED
    unsure = report.unjudged or report.unsure_of_consent or report.evaluation is None
    return UNSURE if unsure else PASSED


def verdict_line(report: Report) -> str:
    if report.data_only:
        found = len(report.problems)
        if report.unread and not found:
            return "unverifiable: no model could be looked at"
        said = f"{found} {_plural('problem', found)} found" if found else "nothing wrong found"
        said = f"its data is not made yet, {_not_run(report)}" if report.head.stale else said
        return f"configuration and data only: {said}, no model was looked at"
    if report.head.run is None:
        cost = f"; training it: {report.cost}" if report.cost else ""
        why = f": {_not_run(report)}" if report.head.stale else ""
        none = f"no model of {report.head.commit[:12]} to judge{why}{cost}"
        return "; ".join([*_consent(report), none])
    return "; ".join([*_consent(report), _gates(report), _comparison(report), *_effort(report)])


def _consent(report: Report) -> Iterator[str]:
    if report.withdrawn:
        yield "its data holds records of subjects without consent"
    elif report.unsure_of_consent:
        yield "it can't be told whether its subjects agree"


def _not_run(report: Report) -> str:
    return f"{', '.join(report.head.stale)} did not run for it"


def _gates(report: Report) -> str:
    if report.unjudged or report.evaluation is None:
        return "gates unverifiable"
    results = report.evaluation.results
    failed = sum(not result.passed for result in results)
    return f"{failed} of {len(results)} gates refused" if failed else "gates passed"


def _comparison(report: Report) -> str:
    rows = [row for row in report.metrics if row.direction and row.delta is not None]
    if not rows:
        return "nothing to compare with"
    better = sum(row.gain > 0 for row in rows)
    worse = sum(row.gain < 0 for row in rows)
    if better and worse:
        return f"{better} of {len(rows)} metrics better, {worse} worse than the base"
    return f"{'better than' if better else 'worse than' if worse else 'equal to'} the base"


def _effort(report: Report) -> Iterator[str]:
    """Yield what the head's training took."""
    if report.cost:
        yield f"cost {report.cost}"
    if report.head.seconds is not None:
        yield f"trained in {duration(report.head.seconds)}"


def cause(report: Report) -> Line:
    """Return the first difference and what it comes from, as far as that is known."""
    row = main_metric(report)
    if report.head.stale:
        return ("What its data will be is not known yet: ", Name(_not_run(report)), ".")
    if not report.parts:
        same = report.base.resolution and report.head.resolution
        return ("Nothing that training reads changed.",) if same else ()
    if row is None or row.delta is None:
        return (f"{_listed(report.parts)} changed.",)
    first: Line = (Strong(_amount(row, row.delta)), " ", Name(row.name), ": ")
    found = report.attribution
    shares = found.shares.get(row.name, {})
    noise = found.noise.get(row.name)
    scatter = "" if noise is None else f"seed noise ±{_amount(row, noise, bare=True).lstrip('+')}"
    if found.method == "only":
        why = f"only the {report.parts[0]} changed, all of the difference comes from there"
    elif shares:
        named = [part for part in PARTS if part in shares]
        why = ", ".join(f"{part} {_amount(row, shares[part], bare=True)}" for part in named)
    else:
        why = f"the {_listed(report.parts).lower()} changed, not yet told apart"
    return (*first, ", ".join(filter(None, (why, scatter))), ".")


def main_metric(report: Report) -> MetricRow | None:
    """Return the metric that pipeline.yaml declares first."""
    declared = (row for row in report.metrics if row.direction)
    return next(declared, None)


def method(report: Report) -> str:
    """Return how the difference was divided, empty where it was not."""
    found = report.attribution
    how = ""
    if found.method == "shapley":
        how = (
            f"All {found.wanted + 2} combinations of base and head are trained: each share is the "
            "Shapley value, the mean over all orders in which the parts can change. "
        )
    elif found.method == "in order":
        order = ", ".join(part for part in PARTS if part in report.parts)
        how = (
            "One part after the other was changed from base to head, in this order: "
            f"{order}. Another order can give other shares. "
        )
    if found.seeds:
        how += f"Seed noise: the standard deviation over {found.seeds} seeds of the head."
    return how.strip()


def _listed(parts: tuple[str, ...]) -> str:
    *first, last = parts
    words = f"{', '.join(first)} and {last}" if first else last
    return words[0].upper() + words[1:]


def _amount(row: MetricRow, value: float, *, bare: bool = False) -> str:
    """Return a difference in percentage points where the metric is a share."""
    if row.name in RATES:
        return f"{signed(value * 100, 1)}{'' if bare else ' points'}"
    return signed(value, 4)


def signed(value: float, digits: int) -> str:
    """Return a number with its sign, a real minus; no sign for what is shown as nothing."""
    shown = f"{abs(value):,.{digits}f}"
    if not float(shown.replace(",", "") if math.isfinite(value) else 1):
        return shown
    return f"{'−' if value < 0 else '+'}{shown}"  # noqa: RUF001


def number(value: float | None) -> str:
    """Return a metric: four decimals, none where it is a count, more digits where it is small."""
    if value is None:
        return ""
    if not math.isfinite(value) or 0 < abs(value) < 0.001 or abs(value) >= 1e15:
        shown = f"{value:.4g}"
    else:
        shown = f"{value:,.0f}" if value == int(value) else f"{value:,.4f}"
    return shown.replace("-", "−")  # noqa: RUF001


def duration(seconds: float) -> str:
    """Return a time for people: 11 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size(count: int | None, sign: str = "") -> str:
    """Return a number of bytes for people, in powers of 1,000."""
    if count is None:
        return "unknown"
    value, unit = float(abs(count)), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    digits = 0 if unit == "B" or value >= 99.95 else 1
    minus = "−" if count < 0 else sign  # noqa: RUF001
    return f"{minus}{value:.{digits}f} {unit}"


def gate_words(report: Report) -> Mapping[str, str]:
    """Return the verdicts of each metric's gates."""
    found: dict[str, list[str]] = {}
    for result in report.evaluation.results if report.evaluation else ():
        sign = PASSED if result.passed else REFUSED
        words = f"{sign} {result.rule.replace('_', ' ')} {result.limit:g}"
        found.setdefault(result.metric, []).append(words)
    return {name: ", ".join(words) for name, words in found.items()}


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
