"""`audit excluded` and `audit pending` against a naive scan, whatever happened to the evidence.

Git is real; MLflow, DVC's files and the log's clock are in memory.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
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
from clew.identity import CommitSha, RunId, data_fingerprint, data_version
from clew.lineage import NAMES
from clew.log import DATA, Draft
from clew.ports import ModelVersion, TrackedRun
from clew.records.sign_off import model_entry
from clew.records.signed import column_names
from clew.resolve import pointers_at
from tests.gitrepo import CONFIG, GitRepo, data, pipeline
from tests.unit.audit.memory import (
    MANIFEST,
    START,
    Clock,
    MemoryLog,
    MemoryStore,
    MemoryTracker,
    Silent,
    place_of,
)

RECORDS = Records(MANIFEST)
SUBJECTS = ("ada", "bob", 'c,"d"', "e\u0301")
BASELINE = "production"
World = dict[str, str]  # record → subject


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
    is_copy: bool = False
    has_run: bool = True

    @property
    def is_contradicted(self) -> bool:
        """Whether MLflow says something else than the log, or nothing bears out what it says."""
        return (self.is_edited and not self.is_deleted) or not (self.is_logged or self.has_run)

    @property
    def is_doubted(self) -> bool:
        """Whether there is only one witness of whom it has not seen."""
        return not self.is_logged or self.is_deleted or not self.has_run


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

    @rule(is_logged=st.booleans(), is_promoted=st.booleans(), behind=st.sampled_from([0, 0, 30]))
    def register(self, is_logged: bool, is_promoted: bool, behind: int) -> None:
        self.count += 1
        self.log.behind = timedelta(seconds=behind)
        commit = self.repo.commit(data(f"world {sorted(self.world.items())}"))
        chain, directory = self._data_version(commit)
        run = RunId(f"{self.count:032}")
        created = self.clock.tick()
        name = self._context().pipeline.mlflow.model
        seconds, place = created.timestamp(), place_of(run)
        version = ModelVersion(name, self.count, run, chain, created=seconds, source=place)
        self.tracker.by_number[self.count] = version
        self.tracker.by_run[run] = TrackedRun(run, "FINISHED", chain, {}, {})
        times = [created]
        if is_logged:
            self.log.append([model_entry(version, chain)], publish=True)
            times += [self.log.entries[-1].at, max(entry.at for entry in self.log.entries)]
        if is_promoted:
            self.tracker.alias[BASELINE] = self.count
        model = Model(dict(self.world), directory, version, is_logged, min(times), max(times))
        self.models.append(model)

    @precondition(lambda self: self.models)
    @rule(pick=st.integers(0, 99))
    def copy(self, pick: int) -> None:
        model = self._picked(pick)
        there = self.tracker.by_number.get(model.version.version)
        if there is None:
            return
        self.count += 1
        made = self.clock.tick()
        version = replace(
            there, name="elsewhere", version=self.count, created=made.timestamp(), aliases=()
        )
        self.tracker.by_number[self.count] = version
        copied = replace(model, version=version, is_copy=True, first=made, last=made)
        self.models.append(copied)

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
        if not model.is_deleted and not model.is_copy:
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
        for one in self.models:
            one.has_run = one.version.run_id in self.tracker.by_run

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
    @rule(pick=st.integers(0, 99), other=st.integers(0, 99))
    def take_other_bytes(self, pick: int, other: int) -> None:
        model, place = self._picked(pick), place_of(self._picked(other).version.run_id)
        number = model.version.version
        if number in self.tracker.by_number and place != place_of(model.version.run_id):
            self.tracker.by_number[number] = replace(self.tracker.by_number[number], source=place)
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
        elif len(sound) < len(asked) or not after or any(one.is_doubted for one in sound):
            assert found.verdict == "UNVERIFIABLE"
        else:
            assert found.verdict == "PASS"
        assert found.counts.models == len(after)

    @rule(days=st.integers(0, 60))
    def ask_what_is_pending(self, days: int) -> None:
        now = self.clock.now + timedelta(days=days)
        found = pending(self._context(), now)
        used = [one for one in self._known() if self._live(one)]
        if any(self._is_harmed(one) or one.is_doubted for one in used):
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
        return (
            one for one in self.models if (one.is_logged and not one.is_copy) or not one.is_deleted
        )

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
