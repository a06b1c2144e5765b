"""`clew index`: the cache that finds whose records are in which data version."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clew.cli.options import Options, shared
from clew.errors import Unverifiable
from clew.wording import counted

if TYPE_CHECKING:
    from clew.adapters.record_index_files import IndexFiles
    from clew.context import Context
    from clew.records.ingest import Ingested

FOLDER = "records"


@click.group()
def index() -> None:
    """Keep the index of records, which `clew audit subject` asks."""


@index.command()
@shared
def build(options: Options) -> int:
    """Make the index anew from the manifests that the log names."""
    from clew.cli.subject_key import open_tokens
    from clew.records.ingest import update

    with _opened(options) as (context, files):
        tokens = open_tokens(context.pipeline, context.workdir)
        context.log.fetch()
        builder = files.builder()
        try:
            found = update(context, tokens, builder)
            builder.finish()
            files.put_in_place(builder)
        finally:
            files.discard(builder)
    return _told(options, "built", found)


@index.command("update")
@shared
def bring_up(options: Options) -> int:
    """Take in what the log has and the index has not."""
    with _opened(options) as (context, files):
        context.log.fetch()
        found = updated(context, files)
    return _told(options, "updated", found)


def updated(context: Context, files: IndexFiles) -> Ingested:
    """Bring the index up to the log as this clone has it."""
    from clew.cli.subject_key import open_tokens
    from clew.records.ingest import update

    current = files.current(create=True)
    found = update(context, open_tokens(context.pipeline, context.workdir), current)
    current.tidy()
    current.close()
    return found


@index.command()
@shared
def verify(options: Options) -> int:
    """Build it from the manifests once more, and compare all of it."""
    from clew.cli.subject_key import open_tokens
    from clew.records.ingest import update

    with _opened(options) as (context, files):
        tokens = open_tokens(context.pipeline, context.workdir)
        if files.current().head() != context.log.head():
            raise Unverifiable("the index is behind the log", fix="Run `clew index update`.")
        builder = files.builder()
        try:
            found = update(context, tokens, builder)
            builder.finish()
            differences = files.differences(builder)
        finally:
            files.discard(builder)
    verdict = "FAIL" if differences else "UNVERIFIABLE" if found.problems else "PASS"
    if options.json:
        document = {"verdict": verdict, "differences": differences, **found.as_json()}
        click.echo(json.dumps(document, indent=2))
    else:
        lines = [*(f"differs: {one}" for one in differences), *_problems(found)]
        click.echo("\n".join([*lines, f"{verdict}: {counted(found.versions, 'data version')}"]))
    return {"PASS": 0, "FAIL": 1, "UNVERIFIABLE": Unverifiable.exit_code}[verdict]


@index.command()
@shared
def status(options: Options) -> int:
    """Say how far the index goes."""
    with _opened(options) as (context, files):
        current = files.current()
        versions = current.versions()
        behind = current.head() != context.log.head()
        facts = {
            "path": str(current.path),
            "bytes": current.path.stat().st_size,
            "data_versions": len(versions),
            "unknown": sum(bool(one.problem) for one in versions),
            "subjects": current.subjects(),
            "head": current.head(),
            "behind": behind,
        }
    _show(options, facts)
    return 1 if behind else 0


@index.command()
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for intervals.parquet, versions.parquet and models.parquet.",
)
@shared
def export(options: Options, output: Path) -> None:
    """Write the index as Parquet, for Athena or DuckDB."""
    with _opened(options) as (_, files):
        counts = files.export(output)
    _show(options, counts)


def index_files(context: Context) -> IndexFiles:
    """Return where the index of a pipeline is."""
    from clew.adapters.record_index_files import IndexFiles

    return IndexFiles(context.state / FOLDER)


@contextmanager
def _opened(options: Options) -> Iterator[tuple[Context, IndexFiles]]:
    from clew.cli.reporters import reporter
    from clew.cli.wiring import open_context, open_project

    project = open_project(options)
    with reporter() as progress:
        head = project.repository.commit("HEAD")
        context = open_context(project, options, head, progress)
        yield context, index_files(context)


def _told(options: Options, verb: str, found: Ingested) -> int:
    if options.json:
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        versions = counted(found.versions, "data version")
        counts = f"{versions} and {counted(found.models, 'model')}"
        click.echo("\n".join([f"{verb}: {counts} taken in", *_problems(found)]))
    return Unverifiable.exit_code if found.problems else 0


def _problems(found: Ingested) -> Iterator[str]:
    for problem in found.problems:
        yield f"UNVERIFIABLE {problem}"


def _show(options: Options, facts: Mapping[str, Any]) -> None:
    if options.json:
        click.echo(json.dumps(dict(facts), indent=2))
        return
    for name, value in facts.items():
        shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
        click.echo(f"{name:<14} {shown}")


COMMANDS = [index]
