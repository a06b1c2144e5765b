"""Models: every model version that the log or MLflow knows, deleted ones included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from clew.context import Context
from clew.errors import ClewError, ConfigError, Unverifiable
from clew.identity import RunId
from clew.lineage import NAMES
from clew.log import MODEL, Entry
from clew.ports import ModelVersion, TrackedRun
from clew.records.signed import LINEAGE, model_facts
from clew.trace import MODEL_URI

Runs = Mapping[RunId, TrackedRun]  # as many as were read at once

VERSION = "version"  # what of a model is deleted


@dataclass(frozen=True)
class Known:
    """A model version, from the log and from MLflow."""

    uri: str
    run_id: str
    data: Mapping[str, str]  # facts of its data version, see `manifest_of`
    times: tuple[datetime, ...]  # UTC: of the log's entry, of MLflow's own clock
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    fingerprint: str = ""  # of its run
    deleted: str = ""  # what of it MLflow has no more: the version, or its run
    problem: str = ""  # why it can't be told what it was trained on

    @property
    def data_version(self) -> str:
        return self.data.get("data_version", "")

    @property
    def latest(self) -> datetime:
        """The later of its times: whatever is asked since an earlier one includes it."""
        return max(self.times)


def known_models(context: Context) -> list[Known]:
    """Return all model versions, those of the log first; raises when either can't be read."""
    context.tracker.check(writing=False)
    registered = {version.uri: version for version in context.tracker.versions({})}
    runs = {run.id: run for run in context.tracker.runs({})}  # one by one would take seconds
    logged = [entry for entry in context.log.logged() if entry.kind == MODEL]
    found = [
        _logged(context, entry, registered.get(entry.facts["model"]), runs) for entry in logged
    ]
    # A number that was given out again is another model, though its URI is the same.
    seen = {(one.uri, one.run_id) for one in found}
    others = [v for uri, v in registered.items() if (uri, v.run_id) not in seen]
    return found + [_unlogged(context, version, runs) for version in others]


def known_model(context: Context, uri: str) -> Known:
    """Return one model version by its URI, with a version or an alias.

    ConfigError when neither the log nor MLflow knows it, Unverifiable when it can't be told what it
    was trained on.
    """
    match = MODEL_URI.fullmatch(uri)
    wanted = match and (match["version"] or match["alias"])
    version = context.tracker.version(match["name"], wanted) if match and wanted else None
    name = version.uri if version else uri
    logged = [e for e in context.log.logged() if e.kind == MODEL and e.facts["model"] == name]
    if version is not None:
        logged = [entry for entry in logged if entry.facts["run_id"] == version.run_id]
    if version is None and not logged:
        raise ConfigError(f"there is no model version {uri}", fix="Such as models:/NAME/3.")
    if logged:
        found = _logged(context, logged[-1], version, {})
    elif version is not None:
        found = _unlogged(context, version, {})
    if found.problem:
        raise Unverifiable(f"what {name} was trained on can't be told: {found.problem}")
    return found


def _logged(context: Context, entry: Entry, version: ModelVersion | None, runs: Runs) -> Known:
    facts = entry.facts
    if version is not None and version.run_id != facts["run_id"]:
        version = None  # another model that got the number of one that is gone
    moments = [entry.at, _moment(float(facts.get("registered_at", 0)))]
    moments += [_moment(version.created)] if version else []
    return Known(
        uri=facts["model"],
        run_id=facts["run_id"],
        data=_data(context, facts),
        times=tuple(moment for moment in moments if moment is not None),
        aliases=version.aliases if version else (),
        tags=version.tags if version else {},
        source=f"log entry {entry.number} ({entry.id[:12]})",
        fingerprint=facts.get("run_fingerprint", ""),
        deleted=_deleted(context, version, runs),
        problem="; ".join(_problems(context, facts, version, runs)),
    )


def _unlogged(context: Context, version: ModelVersion, runs: Runs) -> Known:
    return Known(
        uri=version.uri,
        run_id=version.run_id,
        data=_data(context, version.tags),
        times=tuple(filter(None, [_moment(version.created)])) or (datetime.now(UTC),),
        aliases=version.aliases,
        tags=version.tags,
        source="MLflow alone: the log does not have it",
        fingerprint=version.tags.get("run_fingerprint", ""),
        deleted=_deleted(context, version, runs),
        problem="; ".join(_problems(context, {}, version, runs)),
    )


def _problems(
    context: Context, facts: Mapping[str, str], version: ModelVersion | None, runs: Runs
) -> Iterator[str]:
    """Yield why it can't be told what a model was trained on."""
    tags = version.tags if version else {}
    chain = facts or tags
    for name in NAMES:
        if facts and version and facts.get(name) != tags.get(name):
            yield f"its tag {name} in MLflow is not what the log has"
    if not facts and version is not None:
        yield from _unborne(version, _run(context, version, runs))
    try:
        model_facts(context, chain)
    except ClewError as error:
        yield error.what


def _unborne(version: ModelVersion, run: TrackedRun | None) -> Iterator[str]:
    """Yield what of a model's tags its own run does not bear out; the log can't."""
    if run is None:
        yield "the log does not have it and its run is gone, so nothing bears its tags out"
        return
    for name in NAMES:
        if run.params.get(name) != version.tags.get(name):
            yield f"its tag {name} is not the param of its run"


def _data(context: Context, chain: Mapping[str, str]) -> Mapping[str, str]:
    try:
        return model_facts(context, chain)
    except ClewError:  # told by `_problems`
        return {name: chain[name] for name in LINEAGE if name in chain}


def _deleted(context: Context, version: ModelVersion | None, runs: Runs) -> str:
    if version is None:
        return VERSION
    return "" if _run(context, version, runs) else "run"


def _run(context: Context, version: ModelVersion, runs: Runs) -> TrackedRun | None:
    """Return a model's run, which may be in another experiment than those that were read."""
    return runs.get(version.run_id) or context.tracker.run(version.run_id)


def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
