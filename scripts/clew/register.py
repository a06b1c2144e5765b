"""register: the model version with its lineage, and its aliases when the gates allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clew import lineage
from clew.context import Context
from clew.evaluate import Evaluation
from clew.ports import ModelVersion
from clew.request import RunRequest
from clew.resolve import Resolution
from clew.train import Trained


@dataclass(frozen=True)
class Registered:
    version: ModelVersion
    created: bool
    aliases: tuple[str, ...]  # that it carries now
    held_back: str  # why it was not promoted; empty when it was

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.version.name,
            "version": self.version.version,
            "uri": self.version.uri,
            "created": self.created,
            "aliases": list(self.aliases),
            "held_back": self.held_back,
        }


def register(
    context: Context,
    request: RunRequest,
    resolution: Resolution,
    trained: Trained,
    evaluation: Evaluation,
) -> Registered:
    """Return the one model version of this run fingerprint, promoted if gates and rules allow."""
    tracker = context.tracker
    unfit = unfit_for_promotion(context, request, resolution)
    verdict = {"clew.gate": evaluation.verdict, "clew.unfit": unfit}
    found = tracker.version_of(resolution.run_fingerprint)
    created = found is None
    if found is None:
        found = tracker.create_version(trained.run_id, lineage.chain(resolution) | verdict)
        context.reporter.step("register", f"model version {found.uri}")
    tracker.tag_version(found, verdict)
    held_back = unfit or ("" if evaluation.passed else "a gate refused it")
    aliases = () if held_back else _promote(context, found, request.branch)
    return Registered(found, created, aliases, held_back)


def unfit_for_promotion(context: Context, request: RunRequest, resolution: Resolution) -> str:
    """Return why no gate can promote this model, empty when nothing stands against it."""
    if request.dirty:
        return "it was trained from an uncommitted tree"
    if not context.project.repository.on_remote(resolution.commit):
        return f"no Git remote has the commit {resolution.commit[:12]} it was trained from"
    return ""


def _promote(context: Context, version: ModelVersion, branch: str | None) -> tuple[str, ...]:
    promotion = context.pipeline.promotion
    wanted = [promotion.candidate]
    if branch == promotion.branch:
        wanted.append(promotion.baseline)
    for alias in wanted:
        if alias not in version.aliases:
            context.reporter.step("register", f"alias {alias} → {version.uri}")
            context.tracker.set_alias(alias, version)
    return tuple(wanted)
