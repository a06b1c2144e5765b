"""Tokens, the vault of salts, and keys."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.adapters.vault import SqliteVault
from clew.cli.subject_key import key_in
from clew.errors import ConfigError, OutsideError, Unverifiable
from clew.records.keys import new_key, parsed
from clew.records.tokens import FORGOTTEN, VaultTokens

KEY, OTHER = b"k" * 32, b"o" * 32


@pytest.fixture
def vault(tmp_path: Path) -> SqliteVault:
    return SqliteVault(tmp_path / "deep" / "vault.db")


def test_a_subject_has_one_token_and_others_have_others(vault: SqliteVault) -> None:
    tokens = VaultTokens(KEY, vault)
    assert tokens.find("ada") is None
    first = tokens.of(["ada", "bob", "ada"])
    assert len(set(first.values())) == 2
    assert all(len(token) == 64 for token in first.values())
    again = VaultTokens(KEY, SqliteVault(vault.path))
    assert again.of(["bob", "ada"]) == first
    assert again.find("ada") == first["ada"]
    assert again.count() == 2


@given(st.lists(st.text(min_size=1).filter(lambda s: "\0" not in s), unique=True, max_size=8))
def test_ids_are_never_mangled(subjects: list[str]) -> None:
    """Look-alikes, quotes, formulas, newlines: what differs by a code point differs."""
    with_ids = [s for s in subjects if s.isprintable() or s.strip()]
    vault = Memory()
    tokens = VaultTokens(KEY, vault)
    found = tokens.of(with_ids)
    assert len(set(found.values())) == len(with_ids)
    assert [tokens.find(subject) for subject in with_ids] == [found[one] for one in with_ids]


class Memory(SqliteVault):
    """A vault in memory, for many examples."""

    def __init__(self) -> None:
        self.path = Path("memory")
        self._salts: dict[bytes, bytes] = {}

    def claim(self, key_id: str) -> str:
        return "m"

    def count(self) -> int:
        return len(self._salts)

    def generation(self) -> str:
        return "g"

    def salt(self, lookup: bytes) -> bytes | None:
        return self._salts.get(lookup)

    def salts(self, lookups: object) -> dict[bytes, bytes]:
        return {one: self._salts[one] for one in list(lookups) if one in self._salts}  # type: ignore[call-overload]

    def add(self, salts: object) -> None:
        self._salts = {**dict(salts), **self._salts}  # type: ignore[call-overload]


def test_the_file_names_nobody_and_is_its_owners(vault: SqliteVault) -> None:
    VaultTokens(KEY, vault).of([f"person-{n}@example.org" for n in range(50)])
    files = list(vault.path.parent.iterdir())
    assert all(b"example.org" not in file.read_bytes() for file in files)
    assert vault.path.stat().st_mode & 0o777 == 0o600


def test_who_is_forgotten_has_no_token_ever_again(vault: SqliteVault) -> None:
    tokens = VaultTokens(KEY, vault)
    tokens.of(["ada", "bob"])
    salt = sqlite3.connect(vault.path).execute("SELECT salt FROM salts").fetchall()
    assert tokens.forget("ada")
    assert not tokens.forget("ada")
    with pytest.raises(Unverifiable, match="forgotten"):
        tokens.find("ada")
    assert tokens.of(["ada"]) == {"ada": FORGOTTEN}
    assert tokens.find("bob") is not None
    left = [
        one
        for (one,) in salt
        if one in b"".join(f.read_bytes() for f in vault.path.parent.iterdir())
    ]
    assert len(left) == 1  # bob's: ada's is overwritten in the file


def test_another_key_is_refused(vault: SqliteVault) -> None:
    before = VaultTokens(KEY, vault).id
    with pytest.raises(Unverifiable, match="belongs to the subject key"):
        VaultTokens(OTHER, vault)
    assert VaultTokens(KEY, vault).id == before


def test_a_new_vault_under_the_same_key_is_another_one(tmp_path: Path) -> None:
    one, two = (VaultTokens(KEY, SqliteVault(tmp_path / name)) for name in ("a.db", "b.db"))
    assert one.id != two.id
    assert one.of(["ada"]) != two.of(["ada"])


def test_rotation_keeps_salts_and_forgets_whom_nothing_names(vault: SqliteVault) -> None:
    tokens = VaultTokens(KEY, vault)
    tokens.of(["ada", "bob", "cyd"])
    tokens.forget("bob")
    now = tokens.rotated(OTHER, iter(["bob", "ada", "ada"]))
    assert now.count() == 2
    assert now.find("cyd") is None
    assert now.of(["bob"]) == {"bob": FORGOTTEN}
    assert now.find("ada") is not None
    assert now.of(["eve"])["eve"] == now.find("eve")
    with pytest.raises(Unverifiable):
        VaultTokens(KEY, vault)


def test_who_is_forgotten_while_the_key_rotates_stays_forgotten(vault: SqliteVault) -> None:
    tokens = VaultTokens(KEY, vault)
    tokens.of(["ada", "bob"])

    def named() -> Iterator[str]:
        yield "ada"
        VaultTokens(KEY, SqliteVault(vault.path)).forget("ada")
        yield "bob"

    assert tokens.carried(["ada", "cyd"]) == 1
    assert tokens.rotated(OTHER, named()).of(["ada"]) == {"ada": FORGOTTEN}


def test_an_old_handle_writes_nothing_under_another_key(vault: SqliteVault) -> None:
    tokens, other = VaultTokens(KEY, vault), VaultTokens(KEY, SqliteVault(vault.path))
    tokens.of(["ada"])
    assert tokens.rotated(OTHER, iter(["ada"])).count() == 1
    for ask in (lambda: other.of(["bob"]), lambda: other.find("ada"), lambda: other.forget("ada")):
        with pytest.raises(Unverifiable, match="another key meanwhile"):
            ask()


def test_a_salt_that_somebody_still_reads_is_not_called_gone(
    vault: SqliteVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clew.adapters.vault.WAIT_SECONDS", 1.0)
    tokens = VaultTokens(KEY, vault)
    tokens.of(["ada"])
    reader = sqlite3.connect(vault.path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM salts").fetchone()
    with pytest.raises(OutsideError, match="still holds it"):
        tokens.forget("ada")
    reader.close()
    assert not tokens.forget("ada")
    assert not tokens.has_salt("ada")


def test_a_vault_that_others_may_read_is_refused(vault: SqliteVault) -> None:
    VaultTokens(KEY, vault)
    vault.path.chmod(0o644)
    with pytest.raises(ConfigError, match="mode 644"):
        VaultTokens(KEY, vault)


def test_a_damaged_vault_is_no_evidence(vault: SqliteVault) -> None:
    VaultTokens(KEY, vault).of(["ada"])
    vault.path.write_bytes(b"no database" * 1000)
    with pytest.raises(Unverifiable, match="can't be used"):
        VaultTokens(KEY, vault)


def test_asking_gives_nobody_a_salt(vault: SqliteVault) -> None:
    tokens = VaultTokens(KEY, vault)
    found = tokens.of(["ada"])
    assert tokens.known(["ada", "bob"]) == found
    assert tokens.find("bob") is None
    assert tokens.count() == 1


def test_an_older_copy_of_the_vault_stays_known_as_such(vault: SqliteVault) -> None:
    tokens = VaultTokens(KEY, vault)
    tokens.of(["ada"])
    older = vault.path.read_bytes()
    tokens.of(["bob"])
    now = tokens.generation()
    assert tokens.had(now)
    vault.path.write_bytes(older)
    assert not tokens.had(now)
    tokens.of(["bob"])
    assert not tokens.had(now)


@pytest.mark.parametrize(
    "damage",
    ["DELETE FROM salts", "UPDATE salts SET salt = zeroblob(16)", "DELETE FROM blocks"],
)
def test_a_salt_that_was_lost_or_changed_is_not_one_that_never_was(
    vault: SqliteVault, damage: str
) -> None:
    tokens = VaultTokens(KEY, vault)
    tokens.of(["ada"])
    with sqlite3.connect(vault.path) as database:
        database.execute(damage)
    for _ in range(2):
        with pytest.raises(Unverifiable, match="missing or were changed"):
            tokens.find("ada")
        tokens.of(["ada"])


def test_a_vault_from_before_there_were_sums_is_taken_over(vault: SqliteVault) -> None:
    token = VaultTokens(KEY, vault).of(["ada"])["ada"]
    with sqlite3.connect(vault.path) as database:
        database.executescript("DROP TABLE blocks; DROP TABLE generations")
    tokens = VaultTokens(KEY, SqliteVault(vault.path))
    assert tokens.find("ada") == token
    assert tokens.had(tokens.generation())


def _claim(path: str, start: int) -> dict[str, str]:
    tokens = VaultTokens(KEY, SqliteVault(Path(path)))
    return dict(tokens.of(f"s{n}" for n in range(start, start + 300)))


def test_two_processes_give_a_subject_one_salt(vault: SqliteVault) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.starmap(_claim, [(str(vault.path), start) for start in (0, 0, 100)])
    assert found[0] == found[1]
    assert all(found[0][s] == token for s, token in found[2].items() if s in found[0])


# --- keys --------------------------------------------------------------------------------------


def test_a_key_is_hex_or_base64_of_32_bytes() -> None:
    assert len(parsed(new_key(), "x")) == 32
    assert parsed("a" * 64, "x") == bytes.fromhex("a" * 64)
    assert len(parsed("QUJD" * 11, "x")) == 33
    for wrong in ("", "a" * 62, "abc", "é" * 64, "ab" * 31, "====", "QUJD" * 10):
        with pytest.raises(ConfigError, match="x holds no subject key"):
            parsed(wrong, "x")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(ConfigError, match="no subject key"):
        key_in(path)
    path.write_text(new_key())
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="mode 640"):
        key_in(path)
    path.chmod(0o600)
    assert len(key_in(path)) == 32
