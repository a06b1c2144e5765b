"""`audit excluded` and `audit pending` against a naive scan, whatever happened to the evidence.

Git is real; MLflow, DVC's files and the log's clock are in memory.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from clew.audit.excluded import excluded
from clew.config.model import Consent, MLflow, Records
from clew.consent.pending import pending
from clew.context import Context
from clew.errors import OutsideError, Unverifiable
from clew.identity import CommitSha, Pointer, RunId, data_fingerprint, data_version
from clew.lineage import NAMES
from clew.log import DATA, Draft, Entry, Log
from clew.ports import ModelVersion, Reporter, TrackedRun
from clew.records.sign_off import model_entry
from clew.records.signed import column_names
from clew.resolve import pointers_at
from tests.gitrepo import CONFIG, OUTPUT, GitRepo, data, pipeline

MANIFEST = f"{OUTPUT}/manifest.csv"
RECORDS = Records(MANIFEST)
SUBJECTS = ("ada", "bob", 'c,"d"', "e\u0301")
START = datetime(2026, 1, 1, tzinfo=UTC)
BASELINE = "production"
World = dict[str, str]  # record → subject


class Clock:
    """A time of its own for everything that happens."""

    def __init__(self) -> None:
        self.now = START

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


class MemoryLog(Log):
    def __init__(self, clock: Clock) -> None:
        self.clock, self.entries = clock, list[Entry]()

    def logged(self) -> list[Entry]:
        return list(self.entries)

    def head(self) -> CommitSha | None:
        return self.entries[-1].id if self.entries else None

    def fetch(self) -> None:
        pass

    def append(self, drafts: Sequence[Draft], *, publish: bool) -> None:
        known = {entry.key for entry in self.entries}
        for draft in drafts:
            if draft.key not in known:
                number = len(self.entries) + 1
                sha = CommitSha(f"{number:040}")
                moment = self.clock.tick()
                self.entries.append(Entry(number, sha, moment, draft.kind, draft.facts))


class MemoryTracker:
    """What is asked of MLflow's registry, and can be changed there by hand."""

    uri = "memory"

    def __init__(self) -> None:
        self.by_number: dict[int, ModelVersion] = {}
        self.by_run: dict[str, TrackedRun] = {}
        self.alias: dict[str, int] = {}
        self.is_up = True

    def check(self, *, writing: bool = True) -> None:
        if not self.is_up:
            raise OutsideError("MLflow is down")

    def versions(self, tags: Mapping[str, str]) -> list[ModelVersion]:
        return [self._shown(one) for one in self.by_number.values()]

    def version(self, name: str, version_or_alias: str) -> ModelVersion | None:
        number = self.alias.get(version_or_alias)
        if number is None and version_or_alias.isdigit():
            number = int(version_or_alias)
        found = self.by_number.get(number or 0)
        return self._shown(found) if found else None

    def runs(self, tags: Mapping[str, str]) -> list[TrackedRun]:
        return list(self.by_run.values())

    def run(self, run_id: RunId) -> TrackedRun | None:
        return self.by_run.get(run_id)

    def aliases(self) -> Mapping[str, int]:
        return dict(self.alias)

    def _shown(self, version: ModelVersion) -> ModelVersion:
        mine = tuple(name for name, number in self.alias.items() if number == version.version)
        return replace(version, aliases=mine)


class MemoryStore:
    """What DVC's cache and remote hold: one manifest for each directory."""

    def __init__(self) -> None:
        self.manifests: dict[str, bytes] = {}  # by the md5 of the directory

    def files(self, pointer: Pointer) -> dict[str, str]:
        return {MANIFEST: f"m{pointer.md5}"}

    def read(self, hash_name: str, md5: str, path: str) -> bytes:
        if (content := self.manifests.get(md5[1:])) is None:
            raise Unverifiable(f"{path} is lost")
        return content


class Silent(Reporter):
    def step(self, name: str, message: str) -> None:
        pass

    def line(self, text: str) -> None:
        pass

    def progress(self, verb: str, done: int, total: int, what: str = "files") -> None:
        pass


@dataclass
class Model:
    """What is true of a model, whoever says what."""

    world: World
    directory: str  # md5 of its data
    version: ModelVersion
    is_logged: bool
    first: datetime
    last: datetime  # the later of log and MLflow
    is_deleted: bool = False
    is_edited: bool = False
    has_run: bool = True

    @property
    def is_contradicted(self) -> bool:
        """Whether MLflow says something else than the log, or nothing bears out what it says."""
        return (self.is_edited and not self.is_deleted) or not (self.is_logged or self.has_run)


class Histories(RuleBasedStateMachine):
    """Change, opt out and in, branch, merge, register, delete, edit, lose, and ask."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.repo = GitRepo(self.folder / "repo")
        self.clock, self.store, self.tracker = Clock(), MemoryStore(), MemoryTracker()
        self.log = MemoryLog(self.clock)
        self.models: list[Model] = []
        self.world: World = {"r0": "ada", "r1": "bob"}
        self.branch: World = {}
        self.revoked: dict[str, datetime] = {}
        self.lost: set[str] = set()  # directories whose manifest was taken or changed
        self.count = 0
        self._say()

    # --- data and consent ------------------------------------------------------------------------

    @rule(record=st.integers(0, 5), subject=st.sampled_from(SUBJECTS))
    def put(self, record: int, subject: str) -> None:
        self.world = {**self.world, f"r{record}": subject}

    @rule(subject=st.sampled_from(SUBJECTS))
    def opt_out(self, subject: str) -> None:
        self.revoked.setdefault(subject, self.clock.tick())
        self.world = {r: who for r, who in self.world.items() if who != subject}
        self._say()

    @rule(subject=st.sampled_from(SUBJECTS))
    def opt_in(self, subject: str) -> None:
        self.revoked.pop(subject, None)
        self.world = {**self.world, "back": subject}
        self._say()

    @rule()
    def switch_branch(self) -> None:
        self.world, self.branch = self.branch, self.world

    @rule()
    def merge_branch(self) -> None:
        self.world = {**self.branch, **self.world}

    # --- models ----------------------------------------------------------------------------------

    @rule(is_logged=st.booleans(), is_promoted=st.booleans())
    def register(self, is_logged: bool, is_promoted: bool) -> None:
        self.count += 1
        commit = self.repo.commit(data(f"world {sorted(self.world.items())}"))
        chain, directory = self._data_version(commit)
        run = RunId(f"{self.count:032}")
        created = self.clock.tick()
        name = self._context().pipeline.mlflow.model
        version = ModelVersion(name, self.count, run, chain, created=created.timestamp())
        self.tracker.by_number[self.count] = version
        self.tracker.by_run[run] = TrackedRun(run, "FINISHED", chain, {}, {})
        if is_logged:
            self.log.append([model_entry(version, chain)], publish=True)
        if is_promoted:
            self.tracker.alias[BASELINE] = self.count
        model = Model(dict(self.world), directory, version, is_logged, created, self.clock.now)
        self.models.append(model)

    def _data_version(self, commit: CommitSha) -> tuple[dict[str, str], str]:
        """Sign the data of a commit off, as `clew version` does; return the model's lineage."""
        pointers = pointers_at(self.repo.project(), pipeline(), commit)
        fingerprint, directory = data_fingerprint(pointers), pointers[0].md5
        tag = data_version("fashion", fingerprint)
        rows = (
            f'"{who}",{record},train\n'.replace('c,"d"', 'c,""d""')
            for record, who in sorted(self.world.items())
        )
        content = f"subject_id,record_id,split\n{''.join(rows)}".encode()
        signed = {entry.facts["data_version"]: entry.facts for entry in self.log.entries}
        facts = signed.get(tag) or {
            "data_git_commit_id": str(commit),
            "data_version": tag,
            "data_fingerprint": str(fingerprint),
            "manifest": MANIFEST,
            "manifest_columns": column_names(RECORDS),
            "manifest_sha256": hashlib.sha256(content).hexdigest(),
        }
        self.log.append([Draft(DATA, facts)], publish=True)
        if directory not in self.lost:
            self.store.manifests[directory] = content
        chain = {name: facts.get(name, f"{self.count:064}") for name in NAMES}
        return chain, directory

    @precondition(lambda self: self.models)
    @rule(pick=st.integers(0, 99))
    def move_alias(self, pick: int) -> None:
        model = self._picked(pick)
        if not model.is_deleted:
            self.tracker.alias[BASELINE] = model.version.version

    # --- what is taken or changed ----------------------------------------------------------------

    @precondition(lambda self: self.models)
    @rule(pick=st.integers(0, 99))
    def delete_version(self, pick: int) -> None:
        model = self._picked(pick)
        self.tracker.by_number.pop(model.version.version, None)
        for alias, number in list(self.tracker.alias.items()):
            if number == model.version.version:
                del self.tracker.alias[alias]
        model.is_deleted = True

    @precondition(lambda self: self.models)
    @rule(pick=st.integers(0, 99))
    def delete_run(self, pick: int) -> None:
        model = self._picked(pick)
        self.tracker.by_run.pop(model.version.run_id, None)
        model.has_run = False

    @precondition(lambda self: self.models)
    @rule(pick=st.integers(0, 99), name=st.sampled_from(NAMES))
    def edit_tag(self, pick: int, name: str) -> None:
        model = self._picked(pick)
        number = model.version.version
        if number in self.tracker.by_number:
            there = self.tracker.by_number[number]
            self.tracker.by_number[number] = replace(there, tags={**there.tags, name: "0" * 64})
            model.is_edited = True

    @precondition(lambda self: self.models)
    @rule(pick=st.integers(0, 99), content=st.sampled_from([None, b"", b"subject_id,record_id"]))
    def lose_manifest(self, pick: int, content: bytes | None) -> None:
        directory = self._picked(pick).directory
        if content is None:
            self.store.manifests.pop(directory, None)
        else:
            self.store.manifests[directory] = content
        self.lost.add(directory)

    # --- asking ----------------------------------------------------------------------------------

    @rule(subject=st.sampled_from(SUBJECTS), ago=st.integers(0, 40), deployed=st.booleans())
    def ask(self, subject: str, ago: int, deployed: bool) -> None:
        since = max(START, self.clock.now - timedelta(seconds=ago))
        context = self._context()
        found = excluded(context, subject, since, deployed=deployed)
        asked = [
            one for one in self._known() if one.last >= since or (deployed and self._live(one))
        ]
        after = [one for one in asked if one.last >= since]
        torn = [one for one in after if one.first < since and subject in one.world.values()]
        sound = [one for one in asked if not self._is_harmed(one) and one not in torn]
        if any(subject in one.world.values() for one in sound):
            assert found.verdict == "FAIL"
        elif len(sound) < len(asked) or not after:
            assert found.verdict == "UNVERIFIABLE"
        else:
            assert found.verdict == "PASS"
        assert found.counts.models == len(after)

    @rule(days=st.integers(0, 60))
    def ask_what_is_pending(self, days: int) -> None:
        now = self.clock.now + timedelta(days=days)
        found = pending(self._context(), now)
        used = [one for one in self._known() if self._live(one)]
        if any(map(self._is_harmed, used)):
            assert found.verdict == "UNVERIFIABLE"
            return
        left = {who for one in used for who in one.world.values() if who in self.revoked}
        assert {one.subject for one in found.revocations} == left
        late = {who for who in left if now - self.revoked[who] > timedelta(days=30)}
        assert found.verdict == ("FAIL" if late else "PASS")

    @rule(subject=st.sampled_from(SUBJECTS))
    def ask_while_mlflow_is_down(self, subject: str) -> None:
        self.tracker.is_up = False
        assert excluded(self._context(), subject, START).verdict == "UNVERIFIABLE"
        assert pending(self._context(), self.clock.now).verdict == "UNVERIFIABLE"
        self.tracker.is_up = True

    # --- parts -----------------------------------------------------------------------------------

    def _picked(self, pick: int) -> Model:
        return self.models[pick % len(self.models)]

    def _known(self) -> Iterator[Model]:
        """Yield the models that anybody knows of."""
        return (one for one in self.models if one.is_logged or not one.is_deleted)

    def _is_harmed(self, model: Model) -> bool:
        return model.is_contradicted or model.directory in self.lost

    def _live(self, model: Model) -> bool:
        return self.tracker.alias.get(BASELINE) == model.version.version

    def _say(self) -> None:
        rows = "".join(
            f'"{who}",{"revoked" if who in self.revoked else "active"},'
            f"{self.revoked.get(who, START).isoformat()},\n".replace('c,"d"', 'c,""d""')
            for who in SUBJECTS
        )
        self.repo.commit({"consent.csv": f"subject_id,status,updated_at,reason\n{rows}"})

    def _context(self) -> Context:
        whole = pipeline(
            records=RECORDS,
            consent=Consent("consent.csv"),
            mlflow=MLflow("memory", "fashion", "fashion-model"),
        )
        return Context(
            project=self.repo.project(),
            pipeline=whole,
            store=cast(Any, self.store),
            executor=cast(Any, None),
            tracker=cast(Any, self.tracker),
            reporter=Silent(),
            log=self.log,
            state=self.folder,
        )

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gitconfig").write_text(CONFIG)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))


Histories.TestCase.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
TestHistories = Histories.TestCase
