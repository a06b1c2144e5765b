"""register: the model version with its lineage, and its aliases when the gates allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clew import lineage
from clew.changes import made_for
from clew.consent.authority import JUDGING, Authority, authority, differing
from clew.consent.current import standing_at
from clew.consent.standing import TAG, Standing
from clew.context import Context
from clew.edges import record_edges
from clew.errors import Unverifiable
from clew.evaluate import Evaluation
from clew.identity import CommitSha, code_tag
from clew.packages import ARN, ensure_package
from clew.ports import ModelVersion
from clew.records.sign_off import model_entry
from clew.request import RunRequest
from clew.resolve import Resolution
from clew.train import Trained

UNFIT = "clew.unfit"  # of a model version: why it may not be used


@dataclass(frozen=True)
class Registered:
    version: ModelVersion  # as it is now, with the aliases that it carries
    created: bool
    held_back: str  # why it was not promoted; empty when it was
    stays: tuple[str, ...] = ()  # aliases that were left where they are, and why
    consent: Standing | None = None  # None: the pipeline keeps no registry

    @property
    def withdrawn(self) -> bool:
        """Whether consent alone stands against the model."""
        return self.consent is not None and self.consent.verdict != "clean"

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.version.name,
            "version": self.version.version,
            "uri": self.version.uri,
            "created": self.created,
            "aliases": list(self.version.aliases),
            "model_package": self.version.tags.get(ARN),
            "held_back": self.held_back,
            "consent": self.consent.as_json() if self.consent else None,
            "stays": list(self.stays),
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
    found = tracker.version_of(resolution.run_fingerprint)
    created = found is None
    judged = _judge(context, request, resolution, evaluation, found)
    if found is None:
        tags = lineage.chain(resolution) | judged.tags
        found = tracker.create_version(trained.run_id, tags)
        context.reporter.step("register", f"model version {found.uri}")
    _refuse_foreign(context, resolution, trained, found)
    tracker.tag_version(found, judged.tags)
    commit = _code_commit(resolution, found)
    entry = model_entry(found, lineage.chain(resolution) | {"code_git_commit_id": commit})
    context.log.append([entry], publish=not judged.unpublished)
    if not judged.unpublished and commit != resolution.data_git_commit_id:
        _keep(context, commit)
    record_edges(context, trained.run_id)
    found = ensure_package(context, found, evaluation, judged.unfit_of(found))
    moves = {} if judged.held_back else dict(_moves(context, request, resolution, found))
    if not all(moves.values()):  # somebody may have revoked meanwhile
        before, judged = judged, _judge(context, request, resolution, evaluation, found)
        if judged.tags != before.tags:
            tracker.tag_version(found, judged.tags)
            found = ensure_package(context, found, evaluation, judged.unfit_of(found))
    stays = () if judged.held_back else tuple(_promote(context, found, moves))
    now = tracker.version(found.name, str(found.version)) or found
    return Registered(now, created, judged.held_back, stays, judged.consent)


@dataclass(frozen=True)
class _Judged:
    """What stands against the model of a run."""

    unpublished: str
    consent: Standing | None
    held_back: str  # why this run does not promote it; empty when nothing stands against
    tags: dict[str, str]  # what its version is to say

    def unfit_of(self, version: ModelVersion) -> str:
        """Return why the version may not be used, by whoever could tell last."""
        return self.tags.get(UNFIT, version.tags.get(UNFIT, ""))


def _judge(
    context: Context,
    request: RunRequest,
    resolution: Resolution,
    evaluation: Evaluation,
    found: ModelVersion | None,
) -> _Judged:
    """Return what stands against the model of a run; `found` is its version if there is one."""
    held = authority(context)
    consent = standing_at(context, resolution, held)
    withdrawn = str(consent) if consent and consent.verdict != "clean" else ""
    unpublished = unfit_for_promotion(context, request, _code_commit(resolution, found), held)
    other_rules = differing(context, held)
    unfit = "; ".join(filter(None, (unpublished, other_rules, withdrawn)))
    tags = {"clew.gate": evaluation.verdict}
    # Nobody takes a model out of use by rules that were never merged.
    if found is None or not other_rules:
        tags |= {UNFIT: unfit}
        tags |= {TAG: _verdict(context, held, consent)} if consent else {}
    refused = "" if evaluation.passed else "a gate refused it"
    held_back = "; ".join(filter(None, (refused, unfit)))
    return _Judged(unpublished, consent, held_back, tags)


def _verdict(context: Context, held: Authority, consent: Standing) -> str:
    """Return what a version says of consent: what other rules call clean is not known to be so."""
    is_doubtful = consent.verdict == "clean" and differing(context, held, JUDGING)
    return "unverifiable" if is_doubtful else consent.verdict


def _code_commit(resolution: Resolution, version: ModelVersion | None) -> CommitSha:
    recorded = version.tags.get("code_git_commit_id") if version else None
    return CommitSha(recorded or resolution.commit)


def _refuse_foreign(
    context: Context, resolution: Resolution, trained: Trained, version: ModelVersion
) -> None:
    """Refuse a version that only says it is of this run fingerprint: anybody can edit its tags.

    Unverifiable when its run, its lineage or the log says otherwise.
    """
    chain, logged = lineage.chain(resolution), model_entry(version, {})
    entry = next((one for one in context.log.logged() if one.key == logged.key), None)
    names = ("data_version", "data_fingerprint", "run_fingerprint")
    wrong = {name for name in names if version.tags.get(name) != chain[name]}
    if entry is not None:
        wrong |= {name for name in lineage.NAMES if entry.facts.get(name) != version.tags.get(name)}
    elif version.run_id != trained.run_id:
        wrong.add("run")
    if wrong:
        raise Unverifiable(
            f"{version.uri} says it is the model of this run, and its {', '.join(sorted(wrong))} "
            "is another's",
            fix=f"Somebody changed its tags: `clew trace {version.uri}` shows which.",
        )


def _keep(context: Context, commit: CommitSha) -> None:
    """Tag the commit that a model was trained from: a squash merge leaves it to no branch."""
    repository, tag = context.project.repository, code_tag(context.pipeline.name, commit)
    if repository.tag_commit(tag) == commit or repository.fetch_tag(tag) == commit:
        return
    repository.create_tag(tag, commit, f"Code of a model of {context.pipeline.name}")
    repository.push_tag(tag)


def unfit_for_promotion(
    context: Context, request: RunRequest, commit: CommitSha, held: Authority
) -> str:
    """Return why no gate can promote the model of a commit, empty when nothing stands against."""
    repository = context.project.repository
    if request.dirty:
        return "it was trained from an uncommitted tree"
    if not repository.is_behind(commit, held.tips) and not repository.on_remote(commit):
        return f"no Git remote has the commit {commit[:12]} it was trained from: push it, run again"
    return ""


def _moves(
    context: Context, request: RunRequest, resolution: Resolution, version: ModelVersion
) -> Iterator[tuple[str, str]]:
    """Yield the aliases that a version lacks, each with why it stays where it is, if it does."""
    promotion = context.pipeline.promotion
    for alias in (promotion.candidate, promotion.baseline):
        if alias in version.aliases:
            continue
        reason = ""
        if alias == promotion.baseline:
            reason = _not_baseline(request, promotion.branch)
        yield alias, reason or _newer(context, request, resolution, alias, version)


def _promote(context: Context, version: ModelVersion, moves: Mapping[str, str]) -> Iterator[str]:
    """Move the aliases that may move; yield what stays where it is, and why."""
    for alias, reason in moves.items():
        if reason:
            yield f"{alias} stays: {reason}"
        else:
            context.reporter.step("register", f"alias {alias} → {version.uri}")
            context.tracker.set_alias(alias, version)


def _not_baseline(request: RunRequest, branch: str) -> str:
    if request.branch != branch:
        return f"only a run on {branch} moves it (promotion.branch)"
    if request.params:
        return "no commit has the params of this run (--param)"
    return ""


def _newer(
    context: Context,
    request: RunRequest,
    resolution: Resolution,
    alias: str,
    version: ModelVersion,
) -> str:
    """Return why the run of an older commit must not move an alias back."""
    current = context.tracker.version(version.name, alias)
    commit = current.tags.get("code_git_commit_id") if current else None
    if current is None or commit is None or commit == resolution.commit:
        return ""
    repository = context.project.repository
    # What was asked for: clew's own commits on top of two pushes are in neither's history.
    older = repository.is_ancestor(request.commit, CommitSha(commit))
    if older is None:
        return f"it can't be told whether {current.uri} is newer: its commit {commit[:12]} is gone"
    same = made_for(repository, CommitSha(commit)) == made_for(repository, request.commit)
    return f"{current.uri} is of a newer commit, {commit[:12]}" if older and not same else ""
