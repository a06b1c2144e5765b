"""`audit subject`, `records` and `diff` against a naive scan, with a real index and a real vault.

The same histories as for verdicts, while the index is brought up, cut off and built anew.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from clew.adapters.record_index import SqliteIndex
from clew.adapters.record_index_files import IndexFiles
from clew.adapters.vault import SqliteVault
from clew.audit.everywhere import subject_everywhere
from clew.audit.records import diff, manifest_of_model
from clew.audit.subject import Subject, subject_by_index
from clew.errors import ConfigError, Unverifiable
from clew.records.index import Joining
from clew.records.ingest import update
from clew.records.manifest import Manifest
from clew.records.tokens import VaultTokens
from tests.unit.audit.test_verdicts import SUBJECTS, Histories, Model, World, configured

__all__ = ["configured"]


class CutOff(SqliteIndex):
    """An index whose command ends in the middle of a data version."""

    def _join(self, database: sqlite3.Connection, first: int, joining: Iterable[Joining]) -> None:
        super()._join(database, first, joining)
        self.end()

    def end(self) -> None:
        raise InterruptedError


class Killed(CutOff):
    def end(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Answers(Histories):
    """Train again, bring the index up, cut that off, build it anew, and ask."""

    @initialize()
    def start(self) -> None:
        super().start()
        self.files = IndexFiles(self.folder / "index")
        self.tokens = VaultTokens(b"k" * 32, SqliteVault(self.folder / "vault.db"))

    @precondition(lambda self: self.models)
    @rule(pick=st.integers(0, 99))
    def retrain(self, pick: int) -> None:
        """Train on the data of an earlier model once more."""
        now, self.world = self.world, self._picked(pick).world
        self.register(is_logged=True, is_promoted=False, behind=0)
        self.world = now

    @rule()
    def cut_off(self) -> None:
        index = CutOff(self.files.current(create=True).path, create=True)
        with suppress(InterruptedError, Unverifiable):
            update(self._context(), self.tokens, index)
        index.close()

    @rule()
    def build(self) -> None:
        builder = self.files.builder()
        update(self._context(), self.tokens, builder)
        builder.finish()
        self.files.put_in_place(builder)

    @rule(gone=st.sampled_from(SUBJECTS))
    def train_without(self, gone: str) -> None:
        """Ask before and after somebody's records leave the data."""
        self.register(is_logged=True, is_promoted=True, behind=0)
        self.ask_the_index()
        self.opt_out(gone)
        self.register(is_logged=True, is_promoted=True, behind=0)
        self.ask_the_index()

    @rule()
    def ask_the_index(self) -> None:
        context, index = self._context(), self.files.current(create=True)
        try:
            update(context, self.tokens, index)
            for subject in SUBJECTS:
                offline = subject_by_index(context, self.tokens, index, subject)
                self._holds_versions(offline, subject)
                self._holds_models(subject_everywhere(context, offline, subject), subject)
        except Unverifiable:
            assert self.lost, "a sound history was refused"
        finally:
            index.close()

    def _holds_versions(self, found: Subject, subject: str) -> None:
        """What is not said to be unknown is as the scan of all manifests has it."""
        unknown = {one.what for one in found.evidence}
        every = {one.version.tags["data_version"]: one.world for one in self.models}
        counts = {tag: list(world.values()).count(subject) for tag, world in every.items()}
        held = {tag: count for tag, count in counts.items() if count and tag not in unknown}
        assert {one.data_version: one.records for one in found.versions} == held

    def _holds_models(self, found: Subject, subject: str) -> None:
        if self._is_sound():
            assert found.verdict == "PASS"
        if found.verdict == "PASS":
            known = [one for one in self._known() if subject in one.world.values()]
            assert {one.model for one in found.models} == {one.version.uri for one in known}

    @precondition(lambda self: self.models)
    @rule(pick=st.integers(0, 99), other=st.integers(0, 99))
    def ask_for_records(self, pick: int, other: int) -> None:
        one, two = self._picked(pick), self._picked(other)
        old, new = self._listed(one), self._listed(two)
        if old is None or new is None:
            return
        found = diff(old, new, lambda name: name)
        came = {row.record: row.subject for row in found.came}
        went = {row.record: row.subject for row in found.went}
        moved = {row.record: row.subject for row in found.moved}
        assert came == {r: who for r, who in two.world.items() if r not in one.world}
        assert went == {r: who for r, who in one.world.items() if r not in two.world}
        both = one.world.keys() & two.world.keys()
        assert moved == {r: two.world[r] for r in both if one.world[r] != two.world[r]}

    def _listed(self, model: Model) -> Manifest | None:
        """Return a model's manifest, which holds what is true; None where it is refused."""
        try:
            manifest = manifest_of_model(self._context(), model.version.uri)
            listed: World = {row.record: row.subject for row in manifest.rows()}
        except (ConfigError, Unverifiable):
            assert not self._is_sound()
            return None
        assert listed == model.world
        return manifest

    def _is_sound(self) -> bool:
        """Whether nothing was taken or changed since the start."""
        whole = (one.is_logged and one.has_run for one in self.models)
        changed = any(one.is_deleted or one.is_edited for one in self.models)
        return not self.lost and not changed and all(whole)


Answers.TestCase.settings = settings(max_examples=12, stateful_step_count=30, deadline=None)
TestAnswers = Answers.TestCase


def test_what_a_killed_command_leaves_is_taken_up() -> None:
    machine = Answers()
    machine.start()
    machine.train_without("bob")
    machine.put(record=5, subject="ada")
    machine.register(is_logged=True, is_promoted=False, behind=0)
    if (child := os.fork()) == 0:
        update(machine._context(), machine.tokens, Killed(machine.files.current().path))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    left = machine.files.current()
    assert [one.number for one in left.versions()] == [1, 2]
    with pytest.raises(Unverifiable, match="not that of the log"):
        subject_by_index(machine._context(), machine.tokens, left, "ada")
    left.close()
    machine.ask_the_index()
    assert [one.number for one in machine.files.current().versions()] == [1, 2, 3]
    machine.teardown()


def test_an_index_that_lacks_a_model_or_makes_one_up_is_told_by_the_manifest() -> None:
    machine = Answers()
    machine.start()
    try:
        machine.register(is_logged=True, is_promoted=True, behind=0)
        machine.train_without(SUBJECTS[0])
        context, index = machine._context(), machine.files.current(create=True)
        offline = subject_by_index(context, machine.tokens, index, SUBJECTS[0])
        index.close()
        assert subject_everywhere(context, offline, SUBJECTS[0]).verdict == "PASS"
        newest = machine.models[-1].version.uri
        made_up = replace(offline.models[0], model=newest)
        for models in ((), (*offline.models, made_up)):
            found = subject_everywhere(context, replace(offline, models=models), SUBJECTS[0])
            assert found.verdict == "UNVERIFIABLE"
            assert [one.verdict for one in found.evidence].count("FAIL") >= 1
    finally:
        machine.teardown()
