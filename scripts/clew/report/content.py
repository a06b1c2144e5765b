"""From a report's facts to its document: what is said, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from clew.report import plots
from clew.report.consent_content import consent_section
from clew.report.data_content import data_section
from clew.report.document import (
    Block,
    Column,
    Command,
    Document,
    Inline,
    Line,
    Link,
    Name,
    Paragraph,
    Section,
    Strong,
    Table,
)
from clew.report.facts import BASE_MODEL, PARTS, MetricRow, Report, Side
from clew.report.words import (
    cause,
    duration,
    gate_words,
    mark,
    method,
    number,
    signed,
    verdict_line,
)

NOTES = 5  # on gates that no baseline is there for
SHORT = 12  # digits of a commit
FOR_A_FORK = (
    "This is the report for a change that may use no secrets, such as one from a fork: its "
    "configuration was checked and its data compared. No model was looked up, trained or judged."
)


def document(report: Report) -> Document:
    """Return the document of a report."""
    sections = [_problems(report)] if report.data_only else [_metrics(report)]
    sections += [
        consent_section(report),
        data_section(report),
        _attribution(report),
        _other_metrics(report),
        _params(report),
        _code(report),
        _environment(report),
        _plots(report),
        _lineage(report),
    ]
    return Document(
        marker=f"clew report: {report.pipeline}",
        mark=mark(report),
        title=f"clew: {verdict_line(report)}",
        lead=tuple(Paragraph(line) for line in _lead(report) if line),
        sections=tuple(section for section in sections if section.blocks),
        whole=_whole(report),
    )


def _lead(report: Report) -> Iterator[Line]:
    if report.data_only:
        yield _without_models(report)
        return
    yield cause(report)
    if report.unjudged:
        yield ("The gates can't be judged: ", Name(report.unjudged, is_message=True), ".")
    yield _compared(report)


def _without_models(report: Report) -> Line:
    if not report.unread:
        return (FOR_A_FORK,)
    if report.problems:
        return ("No model was looked up or judged: the configuration comes first.",)
    return ("No model was looked up or judged: ", Name(report.unread, is_message=True), ".")


def _compared(report: Report) -> Line:
    """Return what the head is compared with, and why."""
    commit = _commit(report, report.base, SHORT)
    if not report.base_missing:
        return ("Compared with ", BASE_MODEL, ", ", commit, ".")
    why: Line = ("the base has none of its own (", Name(report.base_missing, is_message=True), ")")
    if not report.base_alias:
        return ("There is no model to compare with: ", *why, ".")
    alias = Name(report.base_alias)
    return ("Compared with the model with the alias ", alias, ", ", commit, ": ", *why, ".")


def _problems(report: Report) -> Section:
    found = [(Name(problem, is_message=True),) for problem in report.problems]
    blocks: list[Block] = [Table((Column("wrong in the configuration"),), _rows(found))]
    if not found:
        blocks = [Paragraph(("pipeline.yaml, dvc.yaml and dvc.lock are in order.",))]
    return Section("Configuration", tuple(blocks))


def _metrics(report: Report) -> Section:
    rows = [row for row in report.metrics if _is_judged(report, row)]
    blocks: list[Block] = [_metrics_table(report, rows)] if rows else []
    blocks += [Paragraph(_interval(row)) for row in rows if row.interval]
    notes = {result.note for result in report.evaluation.results} if report.evaluation else set()
    said = sorted(notes - {""})
    for note in said[:NOTES]:
        blocks.append(Paragraph((f"Not compared with the baseline: {note.strip('()')}.",)))
    if len(said) > NOTES:
        more = (
            f"Not compared with the baseline: {len(said) - NOTES:,} more, see clew report --json."
        )
        blocks.append(Paragraph((more,)))
    return Section("Metrics", tuple(blocks))


def _other_metrics(report: Report) -> Section:
    rows = [row for row in report.metrics if not _is_judged(report, row)]
    blocks = (_metrics_table(report, rows),) if rows else ()
    return Section(f"Other metrics ({len(rows):,})", blocks, folded=True, rank=7)


def _is_judged(report: Report, row: MetricRow) -> bool:
    """Tell whether pipeline.yaml says which way a metric is better, or a gate names it."""
    return row.direction is not None or row.name in gate_words(report)


def _metrics_table(report: Report, rows: Sequence[MetricRow]) -> Table:
    verdicts = gate_words(report)
    judged = any(row.name in verdicts for row in rows)
    columns = [*_numbered(("metric", "base", "head", "difference"))]
    columns += [Column("gates")] * judged
    shown = []
    for row in rows:
        cells: list[Line] = [_metric_name(row), (number(row.base),), (number(row.head),)]
        cells.append((_delta(row), *_better(row)))
        shown.append((*cells, *([(verdicts.get(row.name, ""),)] * judged)))
    return Table(tuple(columns), tuple(shown))


def _metric_name(row: MetricRow) -> Line:
    arrows = {"higher": " ↑", "lower": " ↓"}  # which way is better
    return (Name(row.name), arrows[row.direction]) if row.direction else (Name(row.name),)


def _delta(row: MetricRow) -> str:
    if row.delta is None:
        return "new" if row.base is None else "gone"
    digits = 4 if not row.delta or abs(row.delta) >= 0.0001 else 8
    return signed(row.delta, digits)


def _better(row: MetricRow) -> Line:
    if not row.direction or not row.gain:
        return ()
    return (" ", "better" if row.gain > 0 else Strong("worse"))


def _interval(row: MetricRow) -> Line:
    found = row.interval
    if found is None:
        return ()
    words = "more than chance explains" if found.significant else "within what chance explains"
    return (
        Name(row.name),
        f": the difference is {words}; 95% interval {signed(found.low, 4)} to "
        f"{signed(found.high, 4)} (Newcombe, independent samples, n = {found.cases[0]:,} and "
        f"{found.cases[1]:,}).",
    )


def _attribution(report: Report) -> Section:
    found = report.attribution
    blocks: list[Block] = []
    if found.shares and found.method != "only":
        parts = [part for part in PARTS if part in report.parts]
        titles = ("metric", "difference", *parts, *(["seed noise"] if found.noise else []))
        rows: list[tuple[Line, ...]] = [
            (
                *((Name(row.name),), (_delta(row),)),
                *((signed(found.shares[row.name][part], 4),) for part in parts),
                *([(f"±{number(found.noise.get(row.name))}",)] if found.noise else []),
            )
            for row in report.metrics
            if row.name in found.shares
        ]
        blocks.append(Table(_numbered(titles), tuple(rows)))
    if words := method(report):
        blocks.append(Paragraph((words,)))
    if found.wanted and found.method in ("", "in order"):
        there = f"{found.known} of {found.wanted} trainings of mixed parts are there."
        blocks.append(Paragraph((f"{there} This runs what is missing, and says the cost before:",)))
        ends = f"--base {report.base.commit[:12]} --head {report.head.commit[:12]}"
        every = " --every" if found.method else ""
        blocks.append(Command(f"clew attribute {ends}{every}"))
    return Section("Attribution", tuple(blocks), folded=True, rank=2)


def _params(report: Report) -> Section:
    columns = (Column("parameter"), Column("base"), Column("head"), Column("read by"))
    rows = [
        ((Name(one.name),), _value(one.base), _value(one.head), (one.stage,))
        for one in report.params
    ]
    title = f"Parameters ({len(rows):,} changed)"
    blocks = (Table(columns, tuple(rows)),) if rows else ()
    return Section(title, blocks, folded=True, rank=4)


def _environment(report: Report) -> Section:
    columns = (Column("environment"), Column("base"), Column("head"))
    rows = [((Name(one.name),), _value(one.base), _value(one.head)) for one in report.environment]
    blocks = (Table(columns, tuple(rows)),) if rows else ()
    return Section("Environment", blocks, folded=True, rank=3)


def _value(value: Any) -> Line:
    return () if value is None else (Name(str(value)),)


def _code(report: Report) -> Section:
    if report.code_missing:
        unknown = Paragraph(
            ("The changed files can't be told: ", Name(report.code_missing, is_message=True), ".")
        )
        return Section("Code", (unknown,), folded=True, rank=5)
    if not report.code:
        return Section("Code", ())
    rows: list[tuple[Line, ...]] = [
        (
            *((Name(one.path),), (one.change,)),
            *((_lines("+", one.added),), (_lines("−", one.removed),)),  # noqa: RUF001
        )
        for one in report.code
    ]
    added = sum(one.added or 0 for one in report.code)
    removed = sum(one.removed or 0 for one in report.code)
    files = f"{len(rows):,} {'file' if len(rows) == 1 else 'files'}"
    title = f"Code ({files}, +{added:,} −{removed:,} lines)"  # noqa: RUF001
    columns = (*map(Column, ("file", "change")), Column("added", True), Column("removed", True))
    return Section(title, (Table(columns, tuple(rows)),), folded=True, rank=5)


def _lines(sign: str, count: int | None) -> str:
    if count is None:
        return "binary"
    return f"{sign}{count:,}" if count else ""


def _plots(report: Report) -> Section:
    blocks = (plots.metrics(report), plots.history(report), plots.classes(report))
    drawn = tuple(block for block in blocks if block is not None)
    return Section("Plots", drawn, folded=True, rank=8)


def _lineage(report: Report) -> Section:
    rows = [*_facts(report, "base", report.base), *_facts(report, "head", report.head)]
    blocks: list[Block] = [] if report.data_only else [plots.chain(report)]
    blocks.append(Table((Column("side"), Column("fact"), Column("value")), tuple(rows)))
    if not report.data_only:
        blocks.append(Paragraph(("Makes the head's model, or finds it:",)))
        blocks.append(Command(f"clew run --commit {report.head.commit}"))
    return Section("Lineage", tuple(blocks), folded=True, rank=6)


def _facts(report: Report, name: str, side: Side) -> Iterator[tuple[Line, ...]]:
    at = report.links
    facts: list[tuple[str, Inline]] = [("commit", _commit(report, side))]
    if found := side.resolution:
        data = found.data_git_commit_id
        facts.append(("data commit", Link(at.commit(data), Name(data))))
        facts.append(
            ("data version", Link(at.data_version(found.data_version), Name(found.data_version)))
        )
        facts.append(("run fingerprint", Name(found.run_fingerprint)))
    if side.run:
        facts.append(("MLflow run", Link(at.run(side.run.id), Name(side.run.id))))
        if job := side.run.tags.get("clew.job"):
            arn = side.run.tags.get("sagemaker.training_job_arn", "")
            facts.append(("job", Link(at.job(arn), Name(job))))
        if side.seconds is not None:
            facts.append(("trained in", duration(side.seconds)))
    if one := side.version:
        facts.append(("model", Link(at.model(one.name, one.version), Name(one.uri))))
    if side.missing and not report.data_only:
        facts.append(("missing", Name(side.missing, is_message=True)))
    yield from (((name,), (fact,), (value,)) for fact, value in facts)


def _commit(report: Report, side: Side, digits: int | None = None) -> Link:
    return Link(report.links.commit(side.commit), Name(side.commit[:digits]))


def _whole(report: Report) -> Line:
    if report.links.ci:
        return ("the artifacts of ", Link(report.links.ci, Name("this job")))
    return ("the job's artifacts, or ", Name("clew report --format html"))


def _numbered(titles: Iterable[str]) -> tuple[Column, ...]:
    first, *others = titles
    return (Column(first), *(Column(title, is_number=True) for title in others))


def _rows(lines: Iterable[Line]) -> tuple[tuple[Line, ...], ...]:
    return tuple((line,) for line in lines)
