"""Subjects whose ids are made to break a table, a page or an answer."""

from __future__ import annotations

import csv
import io
import json
import subprocess

import pytest

from tests.preloaded import command
from tests.system.people import LONG_AGO, MODEL, SUBJECTS, People, asked

BOB = SUBJECTS[1]
HOSTILE = ("x" * 10_000, 'a,"b"', "zoe\u0301", "zo\u00e9", '=HYPERLINK("//x","y")', "<b>&amp;")
QUOTED = "'=x"  # beside `=x`, which is shown like this


@pytest.fixture
def hostile(people: People) -> People:
    """People with odd ids, of whom a model was trained."""
    ids = (*SUBJECTS, *HOSTILE, "=x", QUOTED)
    people.say(subjects=ids)
    rows = [[s, f"r-{n}", "train", "class-0"] for n, s in enumerate(ids)]
    people.write("data/people.csv", [["subject_id", "record_id", "split", "label"], *rows])
    people.commit("Odd people")
    ran = people.clew("run")
    assert ran.returncode == 0, ran.stderr
    return people


def test_odd_ids_are_kept_as_they_are(hostile: People) -> None:
    listed = hostile.clew("audit", "records", f"{MODEL}/1", "--reveal").stdout
    shown = [row[1] for row in csv.reader(io.StringIO(listed))][1:]
    assert not [cell for cell in shown if cell.startswith("=")]
    assert {"'=x", "''=x"} <= set(shown)
    told = [cell[1:] if cell.startswith("'") else cell for cell in shown]
    assert set(told) == {*SUBJECTS, *HOSTILE, "=x", QUOTED}
    for subject in HOSTILE:
        hostile.answer("consent", "revoke", subject)
        assert hostile.answer("consent", "show", subject)["status"] == "revoked"
    with hostile.registry.open(newline="") as file:
        said = {row["subject_id"]: row["status"] for row in csv.DictReader(file)}
    assert {s for s, status in said.items() if status == "revoked"} == set(HOSTILE)
    hostile.git("push", "-q", "origin", "main")
    for subject in HOSTILE:
        assert asked(hostile, "subject", subject)["versions"][0]["records"] == 1
    assert hostile.clew("audit", "report", HOSTILE[-1], "-o", "../page").returncode == 0
    page = (hostile.folder / "page/index.html").read_text()
    assert not [subject for subject in HOSTILE if subject in page]


def from_input(people: People, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("clew", arguments, people.environment),
        cwd=people.work,
        env=people.environment,
        input=text,
        capture_output=True,
        text=True,
    )


def test_no_mistyped_id_is_proven_excluded(known: People) -> None:
    question = ("audit", "excluded", "-", "--since", LONG_AGO, "--json")
    for text, code in {
        f"{BOB}\r\n": 1,
        f"{BOB}\t": 2,
        f"{BOB}\x85": 2,
        f"{BOB} ": 3,
        BOB.upper(): 3,
        "someone-else": 0,
    }.items():
        done = from_input(known, text, *question)
        assert done.returncode == code, (text, done.stdout + done.stderr)
    assert "no registry and no manifest" in json.loads(done.stdout)["reason"]


def test_a_mistyped_revocation_is_not_lost(known: People) -> None:
    before = known.registry.read_bytes()
    for mistyped in (f"{BOB} ", "person-bbo"):
        refused = known.clew("consent", "revoke", mistyped)
        assert refused.returncode == 2
        assert "--new" in refused.stderr
        assert known.registry.read_bytes() == before
    assert known.clew("consent", "grant", BOB.title()).returncode == 2
    assert known.answer("consent", "grant", "person-fay")["outcome"] == "committed"
    assert known.answer("consent", "revoke", "person-gus", "--new")["outcome"] == "committed"
