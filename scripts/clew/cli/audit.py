"""`clew audit`: who is in which model, and the proof that somebody is in none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clew import __version__
from clew.cli.ask import VERDICT_CODES
from clew.cli.options import Options, shared
from clew.cli.subjects import given
from clew.errors import ClewError, ConfigError, OutsideError, Unverifiable
from clew.wording import counted

if TYPE_CHECKING:
    from clew.audit.answer import Evidence
    from clew.audit.excluded import Excluded
    from clew.audit.subject import Subject
    from clew.context import Context
    from clew.records.manifest import Manifest

SHOWN = 200  # characters of a cell
SUBJECT = click.argument("subject_id", metavar="SUBJECT")
MODEL = click.argument("model", metavar="MODEL")
REVEAL = click.option("--reveal", is_flag=True, help="Show subjects' own ids, not their tokens.")


@click.group()
def audit() -> None:
    """Answer who is in which model; `-` as SUBJECT reads the id from standard input."""


@audit.command()
@SUBJECT
@click.option("--since", "when", required=True, help="A time, day, data version or commit.")
@click.option("--deployed", is_flag=True, help="Fail for models from before that are live, too.")
@click.option("--allow-empty", is_flag=True, help="Pass where no model was registered since.")
@click.option("--allow-deleted", is_flag=True, help="Believe the log of models deleted in MLflow.")
@shared
def excluded(options: Options, subject_id: str, when: str, **flags: bool) -> int:
    """Prove from the manifests that no model since then has seen a subject."""
    name = given(subject_id)
    with _opened(options) as context:
        with suppress(ClewError):  # told by the answer
            context.log.fetch()
        found = proof(context, name, when, **flags)
    _say(options, found.as_json(), _excluded(found))
    return VERDICT_CODES[found.verdict]


def proof(context: Context, name: str, when: str, **flags: bool) -> Excluded:
    """Return whether models since then hold a subject's records, and what casts doubt on it."""
    from clew.audit.excluded import excluded as prove
    from clew.audit.since import doubt_of, since

    moment = since(context, when, datetime.now(UTC))
    return _spelled(
        context, name, prove(context, name, moment, doubt=doubt_of(context, when), **flags)
    )


def _spelled(context: Context, name: str, found: Excluded) -> Excluded:
    """Return an answer that passes for nobody by mistake: a mistyped id is in no model."""
    from clew.audit.answer import PASS, UNVERIFIABLE
    from clew.consent.spelling import ALIKE, doubt

    said = doubt(context, name) if found.verdict == PASS else ""
    if not said:
        return found
    verdict = UNVERIFIABLE if said == ALIKE else PASS
    return replace(found, verdict=verdict, reason=f"{found.reason}; but {said}")


@audit.command()
@SUBJECT
@click.option("--offline", is_flag=True, help="Ask the log and the index alone.")
@shared
def subject(options: Options, subject_id: str, *, offline: bool) -> int:
    """List the data versions and models with a subject's records, and where they are live."""
    with _opened(options) as context:
        found = asked(context, given(subject_id), offline=offline)
    _say(options, found.as_json(), _subject(found))
    return VERDICT_CODES[found.verdict]


def asked(context: Context, name: str, *, offline: bool) -> Subject:
    """Return what is known of a subject, the index brought up to the log first."""
    from clew.audit.subject import subject_by_index
    from clew.cli.index import index_files, updated
    from clew.cli.subject_key import open_tokens

    files = index_files(context)
    tokens = open_tokens(context.pipeline, context.workdir)
    if not offline:
        _checked(context)
        updated(context, files)
    found = subject_by_index(context, tokens, files.current(), name)
    if offline:
        return found
    from clew.audit.everywhere import subject_everywhere

    return subject_everywhere(context, found, name)


@audit.command()
@MODEL
@click.option("--split", help="Only the records of this split.")
@REVEAL
@shared
def records(options: Options, model: str, split: str | None, *, reveal: bool) -> None:
    """List the records that a model was trained and tested on, as CSV."""
    from clew.audit.records import Membership, as_csv, manifest_of_model, records_of

    with _opened(options) as context:
        _checked(context)
        manifest = manifest_of_model(context, model)
        rows = list(records_of(manifest, split, _named(context, [manifest], reveal=reveal)))
    document = {"manifest": manifest.sha256, "records": [row._asdict() for row in rows]}
    if options.json:
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(as_csv(Membership._fields, rows), nl=False)


@audit.command()
@click.argument("before", metavar="MODEL_A")
@click.argument("after", metavar="MODEL_B")
@REVEAL
@shared
def diff(options: Options, before: str, after: str, *, reveal: bool) -> None:
    """Say who came, who went and who changed split or label from one model to another."""
    from clew.audit.records import diff as compare
    from clew.audit.records import manifest_of_model
    from clew.report.document import spelt

    with _opened(options) as context:
        _checked(context)
        old, new = (manifest_of_model(context, one) for one in (before, after))
        found = compare(old, new, _named(context, [old, new], reveal=reveal))
    if options.json:
        click.echo(json.dumps(found.as_json(), indent=2))
        return
    for sign, rows in (("+", found.came), ("-", found.went)):
        for row in rows:
            click.echo(f"{sign} {'  '.join(spelt(cell, SHOWN) for cell in row)}")
    for moved in found.moved:
        cells = (moved.record, moved.subject, " → ".join(moved.split), " → ".join(moved.label))
        click.echo(f"~ {'  '.join(spelt(cell, SHOWN) for cell in cells)}")
    counts = f"{len(found.came):,} came, {len(found.went):,} went, {len(found.moved):,} moved"
    click.echo(counts)


@audit.command()
@MODEL
@shared
def model(options: Options, model: str) -> int:
    """Show the whole chain of a model, and every check on it."""
    from clew.audit.model import audit_model
    from clew.audit.records import model_version
    from clew.cli.tree import tree

    with _opened(options) as context:
        _checked(context)
        found = audit_model(context, model_version(context, model))
    _say(options, found.as_json(), tree(found))
    return VERDICT_CODES[found.verdict]


@audit.command()
@REVEAL
@shared
def pending(options: Options, *, reveal: bool) -> int:
    """List the revocations that production does not reflect yet."""
    from clew.consent.current import registry_path
    from clew.consent.pending import pending as not_reflected

    with _opened(options) as context:
        registry_path(context)
        _checked(context)
        found = not_reflected(context, datetime.now(UTC))
        name = _named_one(context, reveal=reveal)
        rows = [(name(one.subject), one) for one in found.revocations]
    lines = [
        f"{shown}  revoked {one.revoked_at.isoformat()}, {one.age_days:.1f} days ago"
        f"{', overdue' if one.overdue else ''}"
        for shown, one in rows
    ]
    _say(
        options, found.as_json() | {"subjects": [shown for shown, _ in rows]}, [*lines, str(found)]
    )
    return VERDICT_CODES[found.verdict]


@audit.command()
@click.argument("about", metavar="MODEL|SUBJECT")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for index.html and report.json.",
)
@click.option("--since", "when", help="Prove too that a subject is in no model since then.")
@REVEAL
@shared
def report(options: Options, about: str, output: Path, *, when: str | None, reveal: bool) -> int:
    """Write an answer as a page for people who use no terminal.

    It needs no network and no script, and prints well.
    """
    from clew.cli.audit_report import model_report, subject_report
    from clew.report.html import page

    with _opened(options) as context:
        _checked(context)
        made = f"{__version__} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        made += f", from the log up to {context.log.head() or 'nothing'}"
        if not about.startswith("models:"):
            verdict, document, whole = subject_report(context, about, when, made, reveal=reveal)
        elif when:
            raise ConfigError("--since asks about a subject", fix="Leave it out for a model.")
        else:
            verdict, document, whole = model_report(context, about, made)
    _write(output / "index.html", page(whole))
    _write(output / "report.json", json.dumps(document, indent=2))
    _say(
        options,
        {"verdict": verdict, "page": str(output / "index.html")},
        f"{verdict}: {output}/index.html",
    )
    return VERDICT_CODES[verdict]


def _write(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


@contextmanager
def _opened(options: Options) -> Iterator[Context]:
    from clew.cli.reporters import reporter
    from clew.cli.subject_key import records_of
    from clew.cli.wiring import open_context, open_project

    project = open_project(options)
    with reporter() as progress:
        head = project.repository.commit("HEAD")
        context = open_context(project, options, head, progress)
        records_of(context.pipeline)
        yield context


def _checked(context: Context) -> None:
    """Refuse to answer while MLflow, or the log in the Git remote, can't be read."""
    try:
        context.tracker.check(writing=False)
        context.log.fetch()
    except OutsideError as error:
        raise Unverifiable(error.what, fix=error.fix) from error


def _named(
    context: Context, manifests: Iterable[Manifest], *, reveal: bool
) -> Callable[[str], str]:
    """Return how subjects are shown; either way takes the subject key.

    Salts are given out by the index alone, which notices when they were lost: it is brought up to
    the log where somebody has none yet.
    """
    from clew.cli.index import index_files, updated
    from clew.cli.subject_key import open_tokens

    tokens = open_tokens(context.pipeline, context.workdir)
    if reveal:
        return lambda name: name
    subjects = {row.subject for manifest in manifests for row in manifest.rows()}
    known = tokens.known(subjects)
    if len(known) < len(subjects):
        updated(context, index_files(context))
        known = tokens.known(subjects)
    if unseen := len(subjects) - len(known):
        raise Unverifiable(
            f"{counted(unseen, 'subject')} of this manifest are in none that the log knows, so "
            "they have no token",
            fix="--reveal shows their own ids.",
        )
    return lambda name: known[name]


def _named_one(context: Context, *, reveal: bool) -> Callable[[str], str]:
    """Return how a subject is shown where there need be no key."""
    from clew.cli.subject_key import open_tokens

    try:
        tokens = open_tokens(context.pipeline, context.workdir)
    except ConfigError:
        if reveal:
            raise
        return lambda _: "(no subject key)"
    if reveal:
        return lambda name: name
    return lambda name: tokens.known([name]).get(name) or "(no token yet: clew index update)"


def _excluded(found: Excluded) -> Iterator[str]:
    yield from _evidence(found.evidence)
    for one in found.earlier:
        mark = "live" if one.verdict != "PASS" else "ok"
        yield f"{mark:<13} from before, and live: {one.what}: {one.found}"
    counts = found.counts
    yield (
        f"{counted(counts.models, 'model')} since {found.since.isoformat()}: "
        f"{counted(counts.manifests, 'manifest')} verified, "
        f"{counts.unreadable:,} unreadable, {counts.deleted:,} deleted in MLflow; "
        f"{counts.earlier_and_live:,} from before are live and hold the subject, or may"
    )
    yield f"log up to {found.log[:12] or 'nothing'}"
    yield f"{found.verdict}: {found.reason}"


def _subject(found: Subject) -> Iterator[str]:
    yield f"token {found.token or 'none: the vault has never seen this subject'}"
    for version in found.versions:
        records = f"{counted(version.records, 'record')} in {', '.join(version.splits)}"
        yield f"{version.data_version}  {version.at}  {records}"
    for holder in found.models:
        live = f", live: {', '.join(holder.live)}" if holder.live else ""
        gone = f", {holder.deleted} deleted in MLflow" if holder.deleted else ""
        yield f"{holder.model}  {holder.registered}  on {holder.data_version}{live}{gone}"
    yield from _evidence(found.evidence)
    if found.versions:
        yield f"first {found.versions[0].data_version}, last {found.versions[-1].data_version}"
    where = "the log and the index alone, not where models are live" if found.offline else "all"
    yield f"asked {where}; log up to {found.log[:12] or 'nothing'}"
    versions = counted(len(found.versions), "data version")
    counts = f"{versions} and {counted(len(found.models), 'model')}"
    complete = "" if found.verdict == "PASS" else "at least "
    yield f"{complete}{counts} with records of the subject"
    if found.verdict != "PASS":
        yield "UNVERIFIABLE: not everything could be told, see above"


def _evidence(evidence: Iterable[Evidence]) -> Iterator[str]:
    for one in evidence:
        yield f"{one.verdict:<13} {one.what}: {one.found}"
        if one.source:
            yield f"{'':<13} [{one.source}]"


def _say(options: Options, document: Any, lines: Iterable[str] | str) -> None:
    text = lines if isinstance(lines, str) else "\n".join(lines)
    click.echo(json.dumps(document, indent=2) if options.json else text)


COMMANDS = [audit]
