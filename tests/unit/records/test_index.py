"""The index against a naive scan of the manifests, whatever happens to them and to it."""

from __future__ import annotations

import csv
import io
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from clew.adapters.record_index import FAN
from clew.adapters.record_index_files import IndexFiles
from clew.adapters.vault import SqliteVault
from clew.config.model import Records
from clew.errors import Unverifiable
from clew.identity import CommitSha
from clew.log import DATA, MODEL, Entry
from clew.records.index import IndexedVersion, Interval, Joining, RecordIndex, ranges
from clew.records.ingest import Ingest
from clew.records.manifest import Manifest
from clew.records.tokens import Token, VaultTokens

NAMES = Records("m.csv")
SUBJECTS = ("ada", "bob", 'c,"d"', "é", "e\u0301", "=SUM(1)")
World = dict[str, tuple[str, str]]  # record → subject, split
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def manifest(world: World) -> Manifest:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["subject_id", "record_id", "split"])
    writer.writerows([subject, record, split] for record, (subject, split) in world.items())
    return Manifest("m.csv", "", text.getvalue().encode(), NAMES)


class Versions:
    """A log with manifests, in memory; those that are None are lost."""

    def __init__(self) -> None:
        self.worlds: list[World | None] = []
        self.entries: list[Entry] = []
        self.models: dict[str, int] = {}  # model → number of its data version

    def add(self, world: World | None) -> None:
        self.worlds.append(world)
        number = len(self.worlds)
        commit = "c" * 40
        facts = {"data_version": str(number), "data_git_commit_id": commit, "records": "0"}
        self._entry(DATA, facts)

    def register(self, number: int) -> None:
        uri = f"m/{len(self.models) + 1}"
        self.models[uri] = number
        self._entry(MODEL, {"model": uri, "run_id": "r", "data_version": str(number)})

    def _entry(self, kind: str, facts: Mapping[str, str]) -> None:
        number = len(self.entries) + 1
        self.entries.append(Entry(number, CommitSha(f"{number:040}"), NOW, kind, facts))

    def read(self, facts: Mapping[str, str]) -> Manifest:
        world = self.worlds[int(facts["data_version"]) - 1]
        if world is None:
            raise Unverifiable("it is lost")
        return manifest(world)

    def holding(self, subject: str) -> set[tuple[int, str, str]]:
        """Return what the naive scan finds: version, record, split."""
        return {
            (number, record, split)
            for number, world in enumerate(self.worlds, start=1)
            for record, (who, split) in (world or {}).items()
            if who == subject
        }


def bring_up(versions: Versions, index: RecordIndex, tokens: VaultTokens) -> None:
    index.begin(tokens.id)
    known = [entry.id for entry in versions.entries]
    start = known.index(head) + 1 if (head := index.head()) else 0
    taker = Ingest(tokens, index, versions.read)
    for entry in versions.entries[start:]:
        taker.take_in(entry)


def found(index: RecordIndex, tokens: VaultTokens, subject: str) -> set[tuple[int, str, str]]:
    token = tokens.find(subject)
    intervals = index.find(token) if token else []
    lost = {one.number for one in index.versions() if one.problem}
    return {
        (number, one.record, one.split)
        for one in intervals
        for number in range(one.first, one.last + 1)
        if number not in lost
    }


def found_models(index: RecordIndex, tokens: VaultTokens, subject: str) -> set[str]:
    """Return the models of the versions that hold a subject for certain."""
    numbers = {number for number, *_ in found(index, tokens, subject)}
    models = index.models([(number, number) for number in sorted(numbers)])
    return {model.uri for model in models}


class Histories(RuleBasedStateMachine):
    """Add, change, leave, come back, lose, register, stop in the middle, build anew."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.versions = Versions()
        self.files = IndexFiles(self.folder / "index")
        self.tokens = VaultTokens(b"k" * 32, SqliteVault(self.folder / "vault.db"))
        self.world: World = {}
        self.branch: World = {}

    @rule(record=st.integers(0, 7), subject=st.sampled_from(SUBJECTS), split=st.sampled_from("ab"))
    def put(self, record: int, subject: str, split: str) -> None:
        self.world = {**self.world, f"r{record}": (subject, split)}

    @rule(subject=st.sampled_from(SUBJECTS))
    def leave(self, subject: str) -> None:
        self.world = {r: row for r, row in self.world.items() if row[0] != subject}

    @rule()
    def switch_branch(self) -> None:
        self.world, self.branch = self.branch, self.world

    @rule()
    def merge_branch(self) -> None:
        self.world = {**self.branch, **self.world}

    @rule()
    def commit(self) -> None:
        self.versions.add(dict(self.world))

    @rule(number=st.integers(1, 30))
    def register(self, number: int) -> None:
        if number <= len(self.versions.worlds):
            self.versions.register(number)

    @rule()
    def update(self) -> None:
        index = self.files.current(create=True)
        bring_up(self.versions, index, self.tokens)
        index.tidy()
        index.close()

    @rule()
    def build(self) -> None:
        builder = self.files.builder()
        bring_up(self.versions, builder, self.tokens)
        builder.finish()
        self.files.put_in_place(builder)

    @rule()
    def stop_in_the_middle(self) -> None:
        """What a killed command leaves is what was there before its transaction."""
        self.versions.add(dict(self.world))
        index = self.files.current(create=True)
        index.begin(self.tokens.id)
        with pytest.raises(InterruptedError):
            index.add_version(_version(self.versions), (), _interrupted())
        index.close()

    @rule()
    def verify(self) -> None:
        self.update()
        builder = self.files.builder()
        bring_up(self.versions, builder, self.tokens)
        builder.finish()
        assert self.files.differences(builder) == []
        self.files.discard(builder)

    @invariant()
    def equals_the_scan(self) -> None:
        if not self.versions.entries:
            return
        self.update()
        index = self.files.current()
        for subject in SUBJECTS:
            scanned = self.versions.holding(subject)
            assert found(index, self.tokens, subject) == scanned
            numbers = {number for number, *_ in scanned}
            holders = {uri for uri, number in self.versions.models.items() if number in numbers}
            assert found_models(index, self.tokens, subject) == holders
        index.close()

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _version(versions: Versions) -> IndexedVersion:
    entry = versions.entries[-1]
    return IndexedVersion(len(versions.worlds), entry.id, entry.at, entry.facts)


def _interrupted() -> Iterator[Joining]:
    yield Joining("new", Token("a" * 64), "a")
    raise InterruptedError


Histories.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestHistories = Histories.TestCase


# --- one by one ----------------------------------------------------------------------------------


@pytest.fixture
def tokens(tmp_path: Path) -> VaultTokens:
    return VaultTokens(b"k" * 32, SqliteVault(tmp_path / "vault.db"))


@pytest.fixture
def files(tmp_path: Path) -> IndexFiles:
    return IndexFiles(tmp_path / "index")


def filled(files: IndexFiles, tokens: VaultTokens, *worlds: World | None) -> Versions:
    versions = Versions()
    for world in worlds:
        versions.add(world)
    index = files.current(create=True)
    bring_up(versions, index, tokens)
    index.close()
    return versions


ADA: World = {"r1": ("ada", "train"), "r2": ("ada", "test"), "r3": ("bob", "train")}
NO_ADA: World = {"r3": ("bob", "train")}


def test_many_segments_are_merged_and_nothing_is_lost(
    files: IndexFiles, tokens: VaultTokens
) -> None:
    worlds = [ADA if n % 2 else NO_ADA for n in range(4 * FAN)]
    versions = filled(files, tokens, *worlds)
    index = files.current()
    index.tidy()
    segments = sqlite3.connect(index.path).execute("SELECT count(*) FROM segments").fetchone()
    assert segments[0] < FAN
    assert found(index, tokens, "ada") == versions.holding("ada")


def test_a_lost_manifest_is_a_problem_and_the_rest_goes_on(
    files: IndexFiles, tokens: VaultTokens
) -> None:
    versions = filled(files, tokens, ADA, None, NO_ADA)
    index = files.current()
    assert [one.problem for one in index.versions()] == ["", "it is lost", ""]
    assert found(index, tokens, "ada") == versions.holding("ada")


def test_there_is_no_index_until_it_is_built(files: IndexFiles) -> None:
    with pytest.raises(Unverifiable, match="clew index build"):
        files.current()


def test_an_index_of_another_key_is_refused(
    files: IndexFiles, tokens: VaultTokens, tmp_path: Path
) -> None:
    filled(files, tokens, ADA)
    other = VaultTokens(b"x" * 32, SqliteVault(tmp_path / "other.db"))
    with pytest.raises(Unverifiable, match="was built with"):
        files.current().begin(other.id)


def test_no_id_of_a_subject_is_in_the_file(files: IndexFiles, tokens: VaultTokens) -> None:
    filled(files, tokens, {"r1": ("person-of-interest", "train")})
    assert all(b"person-of" not in path.read_bytes() for path in files.folder.iterdir())


def test_the_export_says_the_same(files: IndexFiles, tokens: VaultTokens, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    versions = filled(files, tokens, ADA, NO_ADA)
    versions.register(1)
    versions.register(9)
    bring_up(versions, files.current(), tokens)
    counts = files.export(tmp_path / "out")
    assert counts == {"intervals": 3, "versions": 2, "models": 2}
    models = pq.read_table(tmp_path / "out/models.parquet").to_pylist()
    assert [(one["number"], one["model"]) for one in models] == [(0, "m/2"), (1, "m/1")]
    rows = pq.read_table(tmp_path / "out/intervals.parquet").to_pylist()
    ada = tokens.find("ada")
    spans = {(r["record"], r["split"], r["first"], r["last"]) for r in rows if r["token"] == ada}
    assert spans == {("r1", "train", 1, 1), ("r2", "test", 1, 1)}


def test_ranges_that_touch_are_one() -> None:
    spans = [(5, 6), (1, 2), (3, 3), (9, 9), (5, 5)]
    assert ranges(Interval("r", "s", *span) for span in spans) == [(1, 3), (5, 6), (9, 9)]
