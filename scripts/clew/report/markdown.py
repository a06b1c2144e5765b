"""The report as GitHub Flavored Markdown: what is most important first, and never too long.

Names come from data, code and metrics files, so nobody here vouches for them: each is written so
that no character of it can be Markdown, HTML, a link, a mention or a table's border.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clew.report.compare import Change, MetricRow, Report, Side
from clew.report.data_diff import DataDiff

CHARACTERS = 65_000  # GitHub takes 65,536 in a comment
ROWS = 20  # of a table
NAME_CHARACTERS = 80
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -")


@dataclass(frozen=True)
class Section:
    title: str
    body: str
    folded: bool = False

    def __str__(self) -> str:
        if not self.folded:
            return f"### {self.title}\n\n{self.body}\n"
        head = f"<details><summary>{self.title}</summary>"
        return f"{head}\n\n{self.body}\n\n</details>\n"


def markdown(report: Report, limit: int = CHARACTERS) -> str:
    """Return the report, with the least important sections left out where it would be too long."""
    sections = [
        Section("Metrics", _metrics(report)),
        Section("Data", _data(report)),
        Section("What changed", _changed(report)),
        Section("Other metrics", _other_metrics(report), folded=True),
        Section("Parameters", _params(report), folded=True),
        Section("Code", _code(report), folded=True),
        Section("Lineage", _lineage(report), folded=True),
    ]
    kept = [section for section in sections if section.body]
    head = f"<!-- clew report: {report.pipeline} -->\n## clew: {_verdict(report)}\n"
    while True:
        cut = len(kept) < sum(bool(section.body) for section in sections)
        note = "\nLeft out for its length: see `clew report --json`.\n" if cut else ""
        text = "\n".join([head, *map(str, kept)]) + note
        if len(text) <= limit or not kept:
            return text
        kept.pop()


def code(text: object) -> str:
    """Return any text as code: entities are never syntax, and code is never a mention or link.

    What can't be seen, such as a line's end or a change of direction, is spelt out.
    """
    seen = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    shown = "".join(seen)
    if len(shown) > NAME_CHARACTERS:
        shown = f"{shown[: NAME_CHARACTERS - 1]}…"
    safe = "".join(c if c in PLAIN else f"&#{ord(c)};" for c in shown)
    return f"<code>{safe}</code>"


def _verdict(report: Report) -> str:
    if report.evaluation is None:
        cost = f"; training it: {report.cost}" if report.cost else ""
        return f"no model of {report.head.commit[:12]} to judge{cost}"
    return _judgement(report) + (f"; cost {report.cost}" if report.cost else "")


def _judgement(report: Report) -> str:
    passed = report.evaluation is not None and report.evaluation.passed
    words = "gates passed" if passed else "gates refused"
    rows = [row for row in report.metrics if row.direction and row.delta is not None]
    if not rows:
        return f"{words}; nothing to compare with"
    better = sum(_gain(row) > 0 for row in rows)
    worse = sum(_gain(row) < 0 for row in rows)
    if not better and not worse:
        return f"{words}; equal to the base"
    if better and worse:
        return f"{words}; {better} of {len(rows)} metrics better, {worse} worse"
    return f"{words}; {'better' if better else 'worse'} than the base"


def _gain(row: MetricRow) -> float:
    delta = row.delta or 0.0
    return -delta if row.direction == "lower" else delta


def _metrics(report: Report) -> str:
    rows = [row for row in report.metrics if _judged(report, row)]
    lines = [_metrics_table(report, rows)] if rows else []
    lines += [_interval(row) for row in rows if row.interval]
    return "\n\n".join([*lines, f"Compared with {_text(report.base_is)}."])


def _other_metrics(report: Report) -> str:
    rows = [row for row in report.metrics if not _judged(report, row)]
    return _metrics_table(report, rows) if rows else ""


def _judged(report: Report, row: MetricRow) -> bool:
    """Tell whether pipeline.yaml says which way a metric is better, or a gate names it."""
    return row.direction is not None or row.name in _gate_verdicts(report)


def _metrics_table(report: Report, rows: Sequence[MetricRow]) -> str:
    verdicts = _gate_verdicts(report)
    shown = [
        (
            *(code(row.name), _number(row.base), _number(row.head)),
            *(_delta(row), verdicts.get(row.name, "")),
        )
        for row in rows
    ]
    return _table(("metric", "base", "head", "difference", "gates"), shown)


def _delta(row: MetricRow) -> str:
    if row.delta is None:
        return ""
    arrow = ""
    if row.direction and row.delta:
        arrow = " better" if _gain(row) > 0 else " worse"
    return f"{row.delta:+.4f}{arrow}"


def _interval(row: MetricRow) -> str:
    found = row.interval
    if found is None:
        return ""
    words = "more than chance explains" if found.significant else "within what chance explains"
    return (
        f"{code(row.name)}: the difference is {words}; 95% interval {found.low:+.4f} to "
        f"{found.high:+.4f} (Newcombe, independent samples, n = {found.cases[0]:,} and "
        f"{found.cases[1]:,})."
    )


def _gate_verdicts(report: Report) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for result in report.evaluation.results if report.evaluation else ():
        mark = "✅" if result.passed else "❌"
        words = f"{mark} {result.rule.replace('_', ' ')} {result.limit:g}"
        found.setdefault(result.metric, []).append(words)
    return {name: ", ".join(words) for name, words in found.items()}


def _data(report: Report) -> str:
    diff = report.data
    if diff is None:
        return _text(report.data_missing) if report.data_missing else "The data is the same."
    unit = diff.unit
    lines = [
        f"{diff.added:,} {unit}s added, {diff.removed:,} removed, {diff.changed:,} changed; "
        f"{diff.records:,} now. {diff.files_new:,} of {diff.files:,} files have new bytes"
        f"{_sizes(diff)}."
    ]
    lines += _flags(diff)
    rows = [
        [
            *(code(row.split), code(row.label)),
            *map(_count, (row.added, row.removed, row.changed)),
            f"{row.records:,}",
        ]
        for row in diff.classes
    ]
    lines.append(_table(("split", "class", "added", "removed", "changed", "now"), rows))
    folders = ", ".join(f"{code(path)} ({count:,})" for path, count in diff.folders)
    lines.append(f"Most changed folders: {folders}.")
    return "\n\n".join(lines)


def _sizes(diff: DataDiff) -> str:
    if diff.size is None:
        return ""
    before = "" if diff.size_before is None else f", {diff.size - diff.size_before:+,}"
    return f"; {diff.size:,} bytes{before}"


def _flags(diff: DataDiff) -> Iterator[str]:
    if diff.relabelled:
        yield f"⚠️ {diff.relabelled:,} {diff.unit}s have another label than before."
    if diff.resplit:
        yield f"⚠️ {diff.resplit:,} {diff.unit}s are in another split than before."
    for names, words in ((diff.columns_added, "new"), (diff.columns_removed, "gone")):
        if names:
            yield f"⚠️ Columns of the manifest that are {words}: {', '.join(map(code, names))}."


def _changed(report: Report) -> str:
    if not report.parts:
        known = report.base.resolution and report.head.resolution
        return "Nothing that training reads changed." if known else ""
    words = ", ".join(report.parts)
    if len(report.parts) == 1:
        return f"Only the {words} changed: the difference in the metrics comes from there."
    return f"The {words} changed: the difference can't be put down to one of them."


def _params(report: Report) -> str:
    rows = [(code(one.name), _value(one.base), _value(one.head)) for one in report.params]
    return _table(("parameter", "base", "head"), rows) if rows else ""


def _value(value: Any) -> str:
    return "" if value is None else code(value)


def _code(report: Report) -> str:
    rows = [(code(change.name), _word(change)) for change in report.code]
    return _table(("file", "change"), rows) if rows else ""


def _word(change: Change) -> str:
    if change.base is None:
        return "added"
    return "removed" if change.head is None else "changed"


def _lineage(report: Report) -> str:
    rows = [*_links("base", report.base), *_links("head", report.head)]
    again = f"`clew run --commit {report.head.commit}` makes the head's model, or finds it."
    return f"{_table(('', 'fact', 'value'), rows, limit=len(rows))}\n\n{again}"


def _links(name: str, side: Side) -> Iterator[tuple[str, str, str]]:
    yield name, "commit", code(side.commit)
    if side.resolution:
        yield name, "data commit", code(side.resolution.data_git_commit_id)
        yield name, "data version", code(side.resolution.data_version)
        yield name, "run fingerprint", code(side.resolution.run_fingerprint)
    if side.run:
        yield name, "MLflow run", code(side.run.id)
        if "clew.job" in side.run.tags:
            yield name, "job", code(side.run.tags["clew.job"])
    if side.version:
        yield name, "model", code(side.version.uri)
    if side.missing:
        yield name, "missing", _text(side.missing)


def _table(titles: Sequence[str], rows: Sequence[Iterable[str]], limit: int = ROWS) -> str:
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows[:limit]]
    more = len(rows) - limit
    return "\n".join(lines) + (f"\n\nAnd {more:,} more." if more > 0 else "")


def _text(text: str) -> str:
    """Return a sentence of clew's own, which may quote names, on one line and without markup."""
    return "".join(c if c in PLAIN or c in ".,;'" else f"&#{ord(c)};" for c in text[:500])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")


def _count(value: int) -> str:
    return f"{value:,}" if value else ""
