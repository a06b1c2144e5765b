"""An index that was changed is found out by the question that reads what was changed."""

from __future__ import annotations

import sqlite3

import pytest

from clew.adapters.record_index import SqliteIndex
from clew.adapters.record_index_files import IndexFiles
from clew.errors import Unverifiable
from clew.records.index import RecordIndex, ranges
from clew.records.tokens import Token, VaultTokens
from tests.unit.records.test_index import (
    ADA,
    NO_ADA,
    Versions,
    bring_up,
    files,
    filled,
    tokens,
)

__all__ = ["files", "tokens"]


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM open WHERE record = 'r1'",
        "UPDATE open SET first = 2 WHERE record = 'r1'",
        "UPDATE open SET split = 3 - split WHERE record = 'r1'",
        "DELETE FROM closed_1",
        "UPDATE closed_1 SET last = 1",
        "DROP TABLE closed_1",
        "DELETE FROM versions WHERE number = 2",
        "UPDATE versions SET problem = '' WHERE number = 3",
        "UPDATE versions SET problem = 'x' WHERE number = 4",
        "DELETE FROM versions WHERE number = 4",
        "UPDATE versions SET facts = replace(facts, 'c', 'd') WHERE number = 1",
        "DELETE FROM splits",
        "UPDATE splits SET name = 'other' WHERE id = 1",
        "DELETE FROM subjects",
        "DELETE FROM subjects WHERE token = x'{ada}'",
        "UPDATE subjects SET token = zeroblob(32) WHERE token = x'{ada}'",
        "DELETE FROM subject_blocks",
        "DELETE FROM models",
        "DELETE FROM models WHERE number = 2",
        "UPDATE models SET uri = 'm/9' WHERE number = 1",
        "UPDATE models SET number = 9 WHERE number = 1",
        "UPDATE models SET number = 1 WHERE number = 0",
        "DELETE FROM model_blocks",
        "DELETE FROM meta WHERE name = 'versions'",
        "PRAGMA user_version = 7",
    ],
)
def test_a_changed_index_is_found_out(files: IndexFiles, tokens: VaultTokens, damage: str) -> None:
    """A question about one subject does not read all of it, and says so all the same."""
    damaged = SqliteIndex(damaged_index(files, tokens, damage).path)
    token = tokens.find("ada")
    assert token is not None
    with pytest.raises(Unverifiable, match="damaged"):
        answer(damaged, token)


def test_what_the_vault_gave_out_since_is_what_an_index_needs(
    files: IndexFiles, tokens: VaultTokens
) -> None:
    filled(files, tokens, ADA)
    assert tokens.had(files.current().generation())
    assert files.current().generation() == tokens.generation()


def answer(index: RecordIndex, token: Token) -> None:
    """Ask what `clew audit subject` asks."""
    spans = ranges(index.find(token))
    index.versions_in(spans)
    index.unknown()
    index.models(spans)
    index.unplaced()


def damaged_index(files: IndexFiles, tokens: VaultTokens, damage: str) -> SqliteIndex:
    moved = {**ADA, "r2": ("ada", "train")}
    versions = filled(files, tokens, ADA, ADA, None, moved)
    for number in (1, 2, 4, 9):
        versions.register(number)
    index = files.current()
    bring_up(versions, index, tokens)
    token = tokens.find("ada")
    assert token is not None
    answer(index, token)
    index.close()
    with sqlite3.connect(index.path) as database:
        assert database.execute(damage.format(ada=token)).rowcount != 0
    database.close()
    return index


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("DELETE FROM models WHERE number = 1", "lacks 1 models, such as m/1"),
        ("UPDATE models SET uri = 'm/9' WHERE number = 0", "lacks 1 models, such as m/4"),
        ("DELETE FROM subjects", "lacks 4 intervals"),
    ],
)
def test_verify_compares_models_too(
    files: IndexFiles, tokens: VaultTokens, damage: str, said: str
) -> None:
    damaged_index(files, tokens, damage)
    moved = {**ADA, "r2": ("ada", "train")}
    versions = Versions()
    for world in (ADA, ADA, None, moved):
        versions.add(world)
    for number in (1, 2, 4, 9):
        versions.register(number)
    builder = files.builder()
    bring_up(versions, builder, tokens)
    builder.finish()
    assert said in " ".join(files.differences(builder))


def test_of_many_versions_only_those_asked_for_are_read(
    files: IndexFiles, tokens: VaultTokens
) -> None:
    """What is not read need not be sound; what is read must be."""
    filled(files, tokens, *(ADA for _ in range(8)))
    index = files.current()
    every = index.versions()
    assert index.versions_in([(2, 3), (8, 8)]) == [every[1], every[2], every[7]]
    index.close()
    with sqlite3.connect(index.path) as database:
        database.execute("UPDATE versions SET at = '2027' WHERE number = 5")
    assert len(SqliteIndex(index.path).versions_in([(1, 4), (6, 8)])) == 7
    for spans in ([(5, 5)], [(4, 6)], [(9, 9)]):
        with pytest.raises(Unverifiable, match="damaged"):
            SqliteIndex(index.path).versions_in(spans)


def test_a_file_that_is_no_index_is_found_out(files: IndexFiles, tokens: VaultTokens) -> None:
    filled(files, tokens, ADA)
    path = files.current().path
    for content in (b"", b"nonsense" * 4096, path.read_bytes()[:9000]):
        path.write_bytes(content)
        with pytest.raises(Unverifiable, match="damaged"):
            SqliteIndex(path).find(tokens.of(["ada"])["ada"])


def test_verify_tells_what_differs(files: IndexFiles, tokens: VaultTokens) -> None:
    versions = filled(files, tokens, ADA, NO_ADA)
    database = sqlite3.connect(files.current().path)
    database.execute("UPDATE closed_1 SET last = 2")
    database.commit()
    builder = files.builder()
    bring_up(versions, builder, tokens)
    builder.finish()
    lacks, has = files.differences(builder)
    assert "lacks 2 intervals" in lacks
    assert "should not, 2 intervals" in has


def test_who_was_forgotten_is_no_difference(files: IndexFiles, tokens: VaultTokens) -> None:
    versions = filled(files, tokens, ADA, NO_ADA)
    tokens.forget("ada")
    builder = files.builder()
    bring_up(versions, builder, tokens)
    builder.finish()
    assert files.differences(builder) == []
