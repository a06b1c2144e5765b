"""The audit report: an answer as a document for people who use no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from clew.audit.answer import Evidence
from clew.audit.excluded import Excluded
from clew.audit.subject import Subject
from clew.chain import Node, Trace
from clew.report.document import (
    Block,
    Box,
    Column,
    Document,
    Flow,
    Line,
    Name,
    Paragraph,
    Section,
    Strong,
    Table,
)
from clew.wording import counted

MARKS = {"PASS": "✅", "FAIL": "❌", "UNVERIFIABLE": "⚠️"}
WORD = {verdict: f"{mark} {verdict}" for verdict, mark in MARKS.items()}
AGREES = WORD | {"PASS": "agrees"}
WORDS = {
    "PASS": "Everything that was checked is in order.",
    "FAIL": "Something contradicts itself: see the checks that failed.",
    "UNVERIFIABLE": "Not everything could be verified: evidence is missing or unreadable.",
}
TOLD = {  # of a subject: what could be told, which is no judgement of it
    "PASS": ("📄", "Complete", "Whether the records should be there is another question."),
    "FAIL": ("❌", "Contradictory", "The index and the manifests differ: see the evidence."),
    "UNVERIFIABLE": ("⚠️", "Incomplete", "Evidence is missing or unreadable, see below."),
}
LAYERS = (  # of the drawing, from the data to what is live
    ("commit",),
    ("data version", "manifest"),
    ("MLflow run", "job"),
    ("model version",),
)
SHOWN = {  # the facts of a box
    "data version": (),
    "manifest": ("records", "sha256"),
    "commit": (),
    "MLflow run": ("status",),
    "job": ("executor",),
    "model version": ("aliases",),
}
HASH_CHARACTERS = 12
DRAWN = 5  # boxes of a layer


def model_page(found: Trace, made: str) -> Document:
    """Return the page of a model: its lineage drawn, every check, every fact with its source.

    `made` says when, and from which log entry.
    """
    checks = tuple(
        ((WORD[one.verdict],), (one.what,), (Name(one.evidence, is_message=True),))
        for one in found.checks
    )
    passed = sum(one.verdict == "PASS" for one in found.checks)
    lead = (
        Paragraph((Strong(found.verdict), f": {passed} of {len(found.checks)} checks passed. ")),
        Paragraph((WORDS[found.verdict],)),
        _drawing(found.nodes.values()),
    )
    sections = (
        Section("Checks", (_table(("verdict", "check", "evidence"), checks),)),
        Section("Evidence", tuple(_facts(node) for node in found.nodes.values())),
        _about(made),
    )
    mark, title = MARKS[found.verdict], f"Audit of {found.subject}"
    return Document("", mark, title, lead, sections, ())


def subject_page(
    found: Subject, named: str, made: str, *, consent: str = "", proof: Excluded | None = None
) -> Document:
    """Return the page of a subject; `named` is its token, or its id where it is revealed.

    `consent` is what the registry says of it, `proof` whether models since a moment are without it.
    """
    mark, word, meaning = TOLD[found.verdict]
    lead: tuple[Block, ...] = (
        Paragraph((Strong(word), ". ", meaning)),
        *_summary(found, named),
        *([Paragraph((f"Consent: {consent}.",))] if consent else []),
        *([_verdict_of(proof)] if proof else []),
        Flow("How the records came into models", _subject_layers(found)),
    )
    titles = ("data version", "seen", "records", "splits", "manifest sha256")
    sections = (
        *_proof(proof),
        Section(
            "Models", (_table(("model", "data version", "registered", "live"), _models(found)),)
        ),
        Section("Data versions", (_table(titles, _versions(found)),)),
        Section("Evidence", (_evidence(found.evidence, AGREES),)),
        _about(made),
    )
    return Document("", mark, "Audit of one subject", lead, sections, ())


def _summary(found: Subject, named: str) -> Iterator[Paragraph]:
    live = sum(bool(one.live) for one in found.models)
    versions = counted(len(found.versions), "data version")
    counts = f"{versions} and {counted(len(found.models), 'model')}"
    of_these = "where they are live was not asked" if found.offline else f"{live:,} of these live"
    yield Paragraph((counts, " with records of ", Name(named), f"; {of_these}."))
    if found.versions:
        first, last = found.versions[0], found.versions[-1]
        seen = f" (seen {_utc(first.at)})", f" (seen {_utc(last.at)})"
        ends = Name(first.data_version), seen[0], ", last in ", Name(last.data_version), seen[1]
        yield Paragraph(("First in ", *ends, "."))


def _verdict_of(proof: Excluded) -> Paragraph:
    said = Strong(WORD[proof.verdict]), ": ", Name(proof.reason, is_message=True)
    return Paragraph((f"Excluded from models since {_utc(proof.since.isoformat())}: ", *said))


def _proof(proof: Excluded | None) -> Iterator[Section]:
    if proof is None:
        return
    counts = proof.counts
    words = (
        f"{counted(counts.models, 'model')} registered since then: "
        f"{counted(counts.manifests, 'manifest')} verified, {counts.unreadable:,} unreadable or "
        f"missing, {counts.deleted:,} deleted in MLflow."
    )
    blocks = (Paragraph((words,)), _evidence(proof.evidence))
    yield Section(f"Excluded since {_utc(proof.since.isoformat())}", blocks)
    if proof.earlier:
        yield Section("From before, and live", (_evidence(proof.earlier),))


def _drawing(nodes: Iterable[Node]) -> Flow:
    by_kind: dict[str, list[Node]] = {}
    for node in nodes:
        by_kind.setdefault(node.kind, []).append(node)
    layers = (tuple(_box(n) for kind in kinds for n in by_kind.get(kind, ())) for kinds in LAYERS)
    return Flow("Lineage", tuple(layer for layer in layers if layer))


def _box(node: Node) -> Box:
    facts = {fact.key: fact.value for fact in node.facts}
    shown = (f"{key} {_short(facts[key])}" for key in SHOWN.get(node.kind, ()) if key in facts)
    return Box((node.kind, _short(node.id.removeprefix(f"{node.kind} ")), *shown))


def _short(text: str) -> str:
    """Return a hash cut to what tells it apart; the table below has all of it."""
    return text[:HASH_CHARACTERS] if len(text) >= 32 and text.isalnum() else text


def _facts(node: Node) -> Table:
    rows = tuple(((f.key,), (Name(f.value),), (Name(f.source),)) for f in node.facts)
    title = ((node.kind,), (Name(node.id),), ("",))
    return _table(("fact", "value", "read from"), (title, *rows))


def _subject_layers(found: Subject) -> tuple[tuple[Box, ...], ...]:
    versions = [
        Box((one.data_version, f"{counted(one.records, 'record')} in {', '.join(one.splits)}"))
        for one in found.versions
    ]
    models = [Box((one.model, *one.live), changed=bool(one.live)) for one in found.models]
    return tuple(tuple(_latest(layer)) for layer in (versions, models) if layer)


def _latest(boxes: list[Box]) -> list[Box]:
    """Return the last boxes, and one that says how many are not drawn."""
    earlier = len(boxes) - DRAWN
    return [Box((f"{earlier:,} earlier",)), *boxes[-DRAWN:]] if earlier > 0 else boxes


def _utc(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _models(found: Subject) -> tuple[tuple[Line, ...], ...]:
    return tuple(
        (
            (Name(one.model),),
            (Name(one.data_version),),
            (_utc(one.registered),),
            (", ".join(one.live) or ("no" if not found.offline else "not asked"),),
        )
        for one in found.models
    )


def _versions(found: Subject) -> tuple[tuple[Line, ...], ...]:
    return tuple(
        (
            (Name(one.data_version),),
            (_utc(one.at),),
            (f"{one.records:,}",),
            (Name(", ".join(one.splits)),),
            (Name(one.manifest_sha256),),
        )
        for one in found.versions
    )


def _evidence(evidence: Sequence[Evidence], words: Mapping[str, str] = WORD) -> Table | Paragraph:
    if not evidence:
        return Paragraph(("Nothing besides the log and the index was looked at.",))
    rows = tuple(
        (
            (words[one.verdict],),
            (Name(one.what),),
            (Name(one.found, is_message=True),),
            (Name(one.source),),
        )
        for one in evidence
    )
    return _table(("verdict", "what", "found", "read from"), rows)


def _about(made: str) -> Section:
    words = (
        "Made by clew ",
        made,
        ". What it proves, and what it does not, is said in docs/auditor.md. "
        "The same as data is in report.json beside this page.",
    )
    return Section("About this page", (Paragraph(words),))


def _table(titles: Sequence[str], rows: tuple[tuple[Line, ...], ...]) -> Table:
    return Table(tuple(Column(title) for title in titles), rows)
