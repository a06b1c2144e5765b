"""A damaged index, and a vault from a backup: neither can pass for somebody who is in nothing."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.system.people import LONG_AGO, MODEL, SUBJECTS, People, asked

BOB, CYD, NEW = SUBJECTS[1], SUBJECTS[2], "person-new"


def change_index(people: People, statement: str) -> None:
    (path,) = (people.work / ".clew/records").glob("*.db")
    with sqlite3.connect(path) as database:
        assert database.execute(statement).rowcount > 0
    database.close()


@pytest.mark.parametrize(
    "damage",
    [
        f"DELETE FROM models WHERE uri = '{MODEL}/1'",
        f"UPDATE models SET uri = '{MODEL}/9'",
        "DELETE FROM subjects",
    ],
)
def test_a_damaged_index_hides_no_model(known: People, damage: str) -> None:
    assert len(asked(known, "subject", BOB)["models"]) == 1
    change_index(known, damage)
    for offline in ((), ("--offline",)):
        done = known.clew("audit", "subject", BOB, *offline)
        assert done.returncode == 3, done.stdout
        assert "is damaged" in done.stderr
    assert known.clew("index", "verify").returncode == 1
    assert known.clew("index", "build").returncode == 0
    assert len(asked(known, "subject", BOB)["models"]) == 1


def test_no_salt_is_given_out_after_a_vault_was_restored(known: People, tmp_path: Path) -> None:
    """Bob's salt is lost with the backup; asking for others must not hide that."""
    vault = known.work / ".clew/vault.db"
    known.collect(SUBJECTS[:1])
    known.commit("Ada alone")
    assert known.clew("run").returncode == 0
    asked(known, "records", f"{MODEL}/2")
    shutil.copy(vault, tmp_path / "older.db")
    known.collect(SUBJECTS)
    known.say(subjects=(*SUBJECTS, NEW))
    with (known.work / "data/people.csv").open("a") as file:
        file.write(f"{NEW},r-new,train,x\n")
    known.commit("Somebody new")
    assert known.clew("run").returncode == 0
    assert len(asked(known, "subject", NEW)["models"]) == 1
    for path in vault.parent.glob("vault.db*"):
        path.unlink()
    shutil.copy(tmp_path / "older.db", vault)
    for question in (
        ("records", f"{MODEL}/3"),
        ("diff", f"{MODEL}/2", f"{MODEL}/3"),
        ("subject", NEW),
        ("subject", CYD),
        ("subject", NEW, "--offline"),
        ("report", NEW, "-o", "../page"),
    ):
        done = known.clew("audit", *question)
        assert done.returncode == 3, done.stdout
        assert "an older copy" in done.stderr
    assert known.clew("index", "update").returncode == 3
    assert known.clew("subject", "token", NEW).returncode == 1
    assert known.clew("index", "build").returncode == 0
    assert len(asked(known, "subject", NEW)["models"]) == 1


def test_the_report_has_the_proof_and_what_the_subject_says(known: People) -> None:
    found = known.clew("audit", "report", BOB, "--since", LONG_AGO, "-o", "../page")
    assert found.returncode == 1, found.stderr
    report = json.loads((known.folder / "page/report.json").read_text())
    assert (report["verdict"], report["excluded"]["verdict"]) == ("FAIL", "FAIL")
    assert report["consent"] == "active since 2026-01-15 00:00 UTC"
    page = (known.folder / "page/index.html").read_text()
    assert "<h1>📄 Audit of one subject</h1>" in page
    assert "❌ FAIL" in page
    refused = known.clew("audit", "report", f"{MODEL}/1", "--since", LONG_AGO, "-o", "../page")
    assert refused.returncode == 2
