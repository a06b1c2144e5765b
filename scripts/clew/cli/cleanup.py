"""`clew gc`: removes from DVC's cache and remote what nothing needs any more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from clew.cli.options import Options, shared
from clew.errors import ConfigError, Unverifiable

if TYPE_CHECKING:
    from clew.garbage import GarbagePlan

GRACE_HOURS = 24.0
MOST_HOURS = 87_660.0  # ten years


@click.command()
@click.option("--yes", is_flag=True, help="Remove it. Without this it is only listed.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, which is the default.")
@click.option("--cache-only", is_flag=True, help="Leave the DVC remote alone.")
@click.option(
    "--grace",
    type=click.FloatRange(min=0, max=MOST_HOURS),
    default=GRACE_HOURS,
    show_default=True,
    metavar="HOURS",
    help="Keep what is younger: a run may not have committed it yet.",
)
@shared
def gc(options: Options, yes: bool, dry_run: bool, cache_only: bool, grace: float) -> int:
    """Remove data that no branch, tag, working tree or registered model needs."""
    from clew.cli.reporters import reporter
    from clew.cli.wiring import open_context, open_project, open_sources
    from clew.garbage import find_garbage, remove

    if yes and dry_run:
        raise ConfigError("--yes removes and --dry-run does not", fix="Leave one of them out.")
    project = open_project(options)
    with reporter() as progress:
        head = project.repository.commit("HEAD")
        context = open_context(project, options, head, progress)
        sources = open_sources(context)
        model = context.pipeline.mlflow.model
        plan = find_garbage(
            sources, model=model, grace=timedelta(hours=grace), cache_only=cache_only
        )
        removing = yes and not plan.problems
        if removing:
            remove(sources, plan, cache_only=cache_only)
    if options.json:
        click.echo(json.dumps({"removed": removing} | plan.as_json(), indent=2))
    else:
        click.echo("\n".join(_lines(plan, removed=removing)))
    return Unverifiable.exit_code if plan.problems else 0


def _lines(plan: GarbagePlan, *, removed: bool) -> Iterator[str]:
    from clew.garbage import shown_bytes

    for kept in plan.kept:
        yield f"kept    {kept.reason}: {kept.objects:,} objects, {shown_bytes(kept.bytes)}"
    verb = "removed" if removed else "remove"
    for garbage in plan.garbage:
        for path, objects in garbage.by_path().items():
            size = shown_bytes(sum(one.size for one in objects))
            yield f"{verb:<7} {garbage.place.name} {path}: {len(objects):,} objects, {size}"
        total = sum(one.size for one in garbage.objects)
        yield (
            f"in all  {garbage.place.name} {garbage.place.url}: {verb} "
            f"{len(garbage.objects):,} objects, {shown_bytes(total)}"
        )
        if garbage.objects and garbage.place.note:
            yield f"note    {garbage.place.note}"
    for problem in plan.problems:
        yield f"UNVERIFIABLE {problem}"
    if plan.problems:
        yield "Nothing is removed as long as it is not known what is needed."
    elif not removed and any(garbage.objects for garbage in plan.garbage):
        yield "Nothing was removed; `clew gc --yes` does it."


COMMANDS = [gc]
