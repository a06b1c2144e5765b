"""Authority: the rules and the registry that hold, whatever a branch says of itself."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from clew.config.load import load
from clew.config.model import Pipeline
from clew.config.schema import ValidationCache
from clew.consent.registry import Statements, merged, parse
from clew.context import Context
from clew.errors import ConfigError, Unverifiable
from clew.identity import CommitSha
from clew.repository import RemoteBranches, Repository

JUDGING = ("records", "consent")  # the sections of pipeline.yaml by which data is judged
RULES = ("promotion", *JUDGING)  # and those by which models are promoted
PIPELINE_FILE = "pipeline.yaml"


@dataclass(frozen=True)
class Authority:
    """What the default branch of the Git remote says, and where its promotion branch is."""

    pipeline: Pipeline  # whose RULES hold
    branch: str = ""  # which says so; empty where a commit's own rules hold
    tip: CommitSha | None = None  # of the promotion branch; None: the remote has no such branch
    tips: frozenset[CommitSha] = frozenset()  # of all branches of the remote
    is_new: bool = False  # whether the default branch does not know the pipeline yet
    problem: str = ""  # why it can't be told which rules hold


def authority(context: Context) -> Authority:
    """Return what holds in the Git remote now; what HEAD says where there is no remote."""
    repository = context.project.repository
    if repository.remote_url() is None:
        return Authority(context.pipeline, tip=repository.commit("HEAD"))
    remote = repository.remote_branches()
    found = _rules(context, remote.default or "", _brought(repository, remote, remote.default))
    tip = _brought(repository, remote, found.pipeline.promotion.branch)
    return replace(found, tip=tip, tips=frozenset(remote.tips.values()))


def _brought(
    repository: Repository, remote: RemoteBranches, branch: str | None
) -> CommitSha | None:
    """Return the tip of a branch once this clone has it, None where there is no such branch."""
    tip = remote.tips.get(branch or "")
    if branch is None or tip is None:
        return None
    repository.bring_branches({branch: tip})
    if repository.object_ids([(tip, "")]) == [None]:  # it was forced away in between
        raise Unverifiable(f"the commit {tip[:12]} of its branch {branch} can't be had")
    return tip


def differing(context: Context, held: Authority, sections: Iterable[str] = RULES) -> str:
    """Return why a commit's own pipeline.yaml can't be judged by, empty where it can."""
    if held.problem:
        return held.problem
    own, theirs = context.pipeline, held.pipeline
    names = [name for name in sections if getattr(own, name) != getattr(theirs, name)]
    if not names:
        return ""
    return (
        f"its pipeline.yaml has another {' and another '.join(names)} than {held.branch} "
        "in the Git remote"
    )


def statements(context: Context, held: Authority) -> Statements:
    """Return what subjects say in the registry that holds: the database, or the promotion branch's.

    Unverifiable when it can't be had.
    """
    consent, own = held.pipeline.consent, context.consent
    if consent is not None and consent.database:
        if own is None or _database(context.pipeline) != _database(held.pipeline):
            raise Unverifiable(
                f"{held.branch} in the Git remote keeps consent in another database",
                fix="Take in its pipeline.yaml.",
            )
        return own.statements()
    said = _of_branch(context, held, consent.registry) if consent else {}
    return merged(said, own.statements()) if own else said


def _of_branch(context: Context, held: Authority, path: str) -> Statements:
    """Return the registry of the promotion branch; a pipeline that it does not know has none."""
    if held.tip is None:
        if held.is_new:
            return {}
        raise Unverifiable(
            f"the Git remote has no branch {held.pipeline.promotion.branch}, whose consent "
            "registry holds",
            fix="Push it, or correct promotion.branch in pipeline.yaml.",
        )
    if held.is_new and context.read(held.tip, path) == [None]:
        return {}
    return statements_at(context, held.tip, path)


def statements_at(context: Context, commit: CommitSha, path: str) -> Statements:
    """Return the registry as a commit has it; ConfigError where it has none, or a broken one."""
    (content,) = context.read(commit, path)
    if content is None:
        raise ConfigError(
            f"the commit {commit[:12]} has no consent registry {path}",
            fix="Commit it, or correct consent.registry in pipeline.yaml.",
        )
    return parse(content, path)


def _rules(context: Context, branch: str, tip: CommitSha | None) -> Authority:
    """Return whose rules hold: the default branch's, or the commit's own where it has none."""
    if tip is None:
        return Authority(context.pipeline)
    project = context.project
    path = project.path(project.file)
    text = project.repository.read(tip, [path])[path]
    if text is None:
        elsewhere = next(_elsewhere(context, tip), "")
        why = f"{branch} in the Git remote has this pipeline as {elsewhere}"
        return Authority(context.pipeline, is_new=not elsewhere, problem=why if elsewhere else "")
    try:
        return Authority(load(text, path, ValidationCache(context.state / "cache")), branch)
    except ConfigError as error:
        why = f"{path} of {branch} in the Git remote can't be read: {error.what}"
        return Authority(context.pipeline, problem=why)


def _elsewhere(context: Context, tip: CommitSha) -> Iterator[str]:
    """Yield where else a commit has a pipeline.yaml for the same model."""
    repository = context.project.repository
    names = {PIPELINE_FILE, context.project.file}
    places = [one.path for one in repository.entries(tip) if posixpath.basename(one.path) in names]
    for path, text in repository.read(tip, places).items():
        try:
            there = load(text or b"", path)
        except ConfigError:
            continue
        if there.mlflow.model == context.pipeline.mlflow.model:
            yield path


def _database(pipeline: Pipeline) -> tuple[str | None, str]:
    consent = pipeline.consent
    return (consent.database, consent.table) if consent else (None, "")
