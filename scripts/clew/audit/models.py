"""Models: every model version that the log or MLflow knows, deleted ones and copies included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate

from clew.context import Context
from clew.errors import ClewError, ConfigError, Unverifiable
from clew.identity import RunId
from clew.lineage import NAMES
from clew.log import MODEL, Entry
from clew.ports import ModelVersion, TrackedRun
from clew.records.signed import LINEAGE, facts_of, signed_versions
from clew.trace import MODEL_URI

VERSION, RUN = "version", "run"  # what of a model is deleted


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
    copy_of: str = ""  # the URI that the log has, where this one is a copy
    is_logged: bool = True  # whether the log has it, or what it is a copy of
    is_foreign: bool = False  # registered under a name that clew never used

    @property
    def data_version(self) -> str:
        return self.data.get("data_version", "")

    @property
    def latest(self) -> datetime:
        """The later of its times: whatever is asked since an earlier one includes it."""
        return max(self.times)

    @property
    def stray(self) -> str:
        """Why there is no showing whom it has not seen, where clew did not register it."""
        return "" if self.is_logged else "the log does not have it, so anybody may have made it"

    @property
    def lost(self) -> str:
        """Why the log is alone in saying what it was trained on, where it is."""
        said = f"its {self.deleted} is deleted in MLflow, so only the log says what it has seen"
        return said if self.deleted else ""

    @property
    def doubt(self) -> str:
        """The first reason against taking what is said of it for proven."""
        return self.problem or self.stray or self.lost


def known_models(context: Context) -> list[Known]:
    """Return all model versions, those of the log first; raises when either can't be read.

    They are those under the names that the log and pipeline.yaml have, and under any other name
    those with the run, the bytes or the data version of this pipeline's.
    """
    context.tracker.check(writing=False)
    runs = {run.id: run for run in context.tracker.runs({})}  # one by one would take seconds
    book = Book(context, runs)
    there = {(one.uri, str(one.run_id)): one for one in book.own(context.tracker.every_version())}
    # A number that was given out again is another model, though its URI is the same.
    found = [book.known(one, there.pop(_key(one), None)) for one in book.entries]
    return found + [book.known(book.original(one), one) for one in there.values()]


def known_model(context: Context, uri: str) -> Known:
    """Return one model version by its URI, with a version or an alias.

    ConfigError when neither the log nor MLflow knows it, Unverifiable when it can't be told what it
    was trained on.
    """
    match = MODEL_URI.fullmatch(uri)
    wanted = match and (match["version"] or match["alias"])
    version = context.tracker.version(match["name"], wanted) if match and wanted else None
    book = Book(context, {})
    if version is not None:
        entry = book.entry_of(version)
    else:
        entry = next((e for e in reversed(book.entries) if e.facts["model"] == uri), None)
    if version is None and entry is None:
        raise ConfigError(f"there is no model version {uri}", fix="Such as models:/NAME/3.")
    found = book.known(entry, version)
    if found.problem:
        raise Unverifiable(f"what {found.uri} was trained on can't be told: {found.problem}")
    return found


class Book:
    """What the log says of models, read once, and what MLflow has of them."""

    def __init__(self, context: Context, runs: Mapping[RunId, TrackedRun]) -> None:
        """Take `runs` for as many as were read at once."""
        self._context, self._runs = context, runs
        entries = context.log.logged()
        self.entries = [entry for entry in entries if entry.kind == MODEL]
        self._signed = signed_versions(entries)
        # No entry is older than one before it, whatever the clock said that it was written by.
        self._not_before = dict(
            zip((one.id for one in entries), accumulate((e.at for e in entries), max), strict=True)
        )
        self._by_key = {_key(entry): entry for entry in self.entries}
        self._by_run: dict[str, list[Entry]] = {}
        for entry in self.entries:
            self._by_run.setdefault(entry.facts["run_id"], []).append(entry)
        self._names = {context.pipeline.mlflow.model}
        self._names |= {entry.facts["model"].split("/")[1] for entry in self.entries}

    def own(self, versions: Sequence[ModelVersion]) -> Iterator[ModelVersion]:
        """Yield the versions that are this pipeline's, whatever they are called."""
        named = [one for one in versions if one.name in self._names]
        runs = {*self._by_run, *(one.run_id for one in named)} - {""}
        sources = {entry.facts.get("source", "") for entry in self.entries}
        sources |= {one.source for one in named}
        sources -= {""}
        data = f"data/{self._context.pipeline.name}/"
        runs |= {
            run.id
            for run in self._runs.values()
            if run.params.get("data_version", "").startswith(data)
        }
        for one in versions:
            says = one.tags.get("data_version", "").startswith(data)
            if one.name in self._names or one.run_id in runs or one.source in sources or says:
                yield one

    def entry_of(self, version: ModelVersion) -> Entry | None:
        """Return the log's entry of a version, or of what it is a copy of."""
        return self._by_key.get((version.uri, version.run_id)) or self.original(version)

    def original(self, version: ModelVersion) -> Entry | None:
        """Return the log's entry of the model whose run and bytes a version has, too."""
        same = self._by_run.get(version.run_id, [])
        return next((one for one in same if self._source(one.facts) == version.source), None)

    def known(self, entry: Entry | None, version: ModelVersion | None) -> Known:
        """Return what the log and MLflow say of a model; either may not have it."""
        facts = entry.facts if entry else {}
        tags = version.tags if version else {}
        uri = version.uri if version else facts["model"]
        data, trouble = self._data(facts or tags)
        return Known(
            uri=uri,
            run_id=version.run_id if version else facts["run_id"],
            data=data,
            times=self._times(entry, version),
            aliases=version.aliases if version else (),
            tags=tags,
            source=_said_by(entry, uri),
            fingerprint=(facts or tags).get("run_fingerprint", ""),
            deleted=self._deleted(version),
            problem="; ".join([*self._contradictions(facts, version), *trouble]),
            copy_of=facts["model"] if facts and facts["model"] != uri else "",
            is_logged=entry is not None,
            is_foreign=uri.split("/")[1] not in self._names,
        )

    # --- parts -----------------------------------------------------------------------------------

    def _times(self, entry: Entry | None, version: ModelVersion | None) -> tuple[datetime, ...]:
        """Return what each clock says of when a model was registered; a copy's own is MLflow's."""
        made = [_moment(version.created)] if version else []
        if entry is not None and (version is None or entry.facts["model"] == version.uri):
            registered = _moment(float(entry.facts.get("registered_at", 0)))
            made = [entry.at, self._not_before[entry.id], registered, *made]
        return tuple(filter(None, made)) or (datetime.now(UTC),)

    def _data(self, chain: Mapping[str, str]) -> tuple[Mapping[str, str], list[str]]:
        """Return the facts of a model's data version, and why they can't be had."""
        try:
            return facts_of(self._context, self._signed, chain), []
        except ClewError as error:
            return {name: chain[name] for name in LINEAGE if name in chain}, [error.what]

    def _contradictions(
        self, facts: Mapping[str, str], version: ModelVersion | None
    ) -> Iterator[str]:
        """Yield what of a version in MLflow is not what the log says, or else its run."""
        if version is None:
            return
        if not facts:
            yield from _unborne(version, self._run(version))
        is_copy = facts.get("model") != version.uri
        for name in NAMES if facts else ():
            said = version.tags.get(name)
            if said != facts.get(name) and not (is_copy and said is None):
                yield f"its tag {name} in MLflow is not what the log has"
        made = self._source(facts or {"run_id": version.run_id})
        if made != version.source:
            yield f"its bytes are at {version.source}, and those of its run at {made or 'no place'}"

    def _source(self, facts: Mapping[str, str]) -> str | None:
        """Return where the bytes of a model were when it was registered."""
        known = facts.get("source")
        return known if known is not None else self._context.tracker.model_source(_run_of(facts))

    def _deleted(self, version: ModelVersion | None) -> str:
        if version is None:
            return VERSION
        return "" if self._run(version) else RUN

    def _run(self, version: ModelVersion) -> TrackedRun | None:
        """Return a model's run, which may be in another experiment than those that were read."""
        run_id = version.run_id
        return self._runs.get(run_id) or (self._context.tracker.run(run_id) if run_id else None)


def _unborne(version: ModelVersion, run: TrackedRun | None) -> Iterator[str]:
    """Yield what of a model's tags its own run does not bear out; the log can't."""
    if run is None:
        yield "the log does not have it and its run is gone, so nothing bears its tags out"
        return
    for name in NAMES:
        if run.params.get(name) != version.tags.get(name):
            yield f"its tag {name} is not the param of its run"


def _said_by(entry: Entry | None, uri: str) -> str:
    if entry is None:
        return "MLflow alone: the log does not have it"
    copied = "" if entry.facts["model"] == uri else f"a copy of {entry.facts['model']}, "
    return f"{copied}log entry {entry.number} ({entry.id[:12]})"


def _key(entry: Entry) -> tuple[str, str]:
    return entry.facts["model"], entry.facts["run_id"]


def _run_of(facts: Mapping[str, str]) -> RunId:
    return RunId(facts["run_id"])


def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
