"""Consent in a database: SQLite's, and PostgreSQL's where it is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from clew.adapters.consent_database import ConsentDatabase
from clew.consent.registry import Statement
from clew.errors import ConfigError, Unverifiable

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TABLE = (
    "(subject_id VARCHAR(200) PRIMARY KEY, status VARCHAR(20), updated_at {}, reason VARCHAR(99))"
)
BINARIES = Path("/usr/lib/postgresql")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A server of its own, in a folder of its own, run by a user who may."""
    found = sorted(BINARIES.glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("psycopg2")
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    as_user = []
    if os.getuid() == 0:
        try:
            nobody = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("there is no user who could run PostgreSQL")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = [*as_user, str(found[-1].parent / "pg_ctl"), "-D", str(folder / "data"), "-w", "-s"]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}"
    auth = "-A trust -U tester"
    subprocess.run([*run, "initdb", "-o", auth], check=True, capture_output=True, cwd=folder)
    start = [*run, "-l", str(folder / "log"), "-o", options, "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        yield f"postgresql+psycopg2://tester@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*run, "-m", "immediate", "stop"], check=True, cwd=folder)
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "sqlite text", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with an empty table."""
    kind = request.param
    where = f"sqlite:///{tmp_path}/consent.db"
    if kind == "postgresql":
        where = request.getfixturevalue("postgresql")
    moment = {"sqlite": "DATETIME", "sqlite text": "TEXT"}.get(kind, "TIMESTAMP WITH TIME ZONE")
    execute(where, "DROP TABLE IF EXISTS consent", f"CREATE TABLE consent {TABLE.format(moment)}")
    return str(where)


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def database(url: str | None, table: str = "consent") -> ConsentDatabase:
    return ConsentDatabase(url, "CONSENT_URL", table)


def test_what_is_stated_holds(url: str) -> None:
    consent = database(url)
    assert consent.statements() == {}
    odd = "o'brien; DROP TABLE consent; --"
    consent.state(odd, Statement("active", AT))
    consent.state("b", Statement("active", AT))
    consent.state("b", Statement("revoked", AT, "moved away"))
    assert consent.statements() == {
        odd: Statement("active", AT),
        "b": Statement("revoked", AT, "moved away"),
    }


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("'secret', 'gone', '2026-01-01 00:00:00', ''", "unknown status"),
        ("'', 'active', '2026-01-01 00:00:00', ''", "no subject_id"),
        ("'secret', 'revoked', '2999-01-01 00:00:00', ''", "in the future"),
    ],
)
def test_a_broken_row_is_named_by_its_number(url: str, row: str, why: str) -> None:
    execute(url, f"INSERT INTO consent VALUES ({row})")
    with pytest.raises(ConfigError, match=why) as caught:
        database(url).statements()
    assert "row 1" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_can_not_be_asked_is_unverifiable(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/none.db", f"sqlite:///{tmp_path}/no/folder.db"):
        with pytest.raises(Unverifiable, match="consent"):
            database(url).statements()


def test_a_wrong_url_says_what_to_do_and_no_password() -> None:
    with pytest.raises(ConfigError, match="CONSENT_URL"):
        database(None).statements()
    with pytest.raises(ConfigError) as caught:
        database("nothing://me:s3cret@host/db").statements()
    assert "s3cret" not in str(caught.value)
