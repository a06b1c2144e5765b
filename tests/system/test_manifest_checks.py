"""What is refused before a data version exists, and how that is said."""

from __future__ import annotations

import pytest

from tests.system.people import SUBJECTS, People

WRITE = '    csv.writer(file, lineterminator="\\n").writerows(rows)'
SPOILT = {
    "a record twice": ("rows.append(rows[1])", "an earlier record has the same id"),
    "two splits": ('rows[1][3] = "test"', "its subject is in another split"),
    "no subject": ('rows[1][0] = ""', "it has no subject id"),
    "control characters": ('rows[1][0] = "a\\x85b"', "control characters"),
    "a file that is not there": ('rows[1][2] = "none.txt"', "its file is not in the data version"),
    "another sha256": ('rows[1][5] = "0" * 64', "its file has another sha256"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_manifest_that_is_not_sound_makes_no_data_version(people: People, fault: str) -> None:
    code, said = SPOILT[fault]
    people.edit("stages/prepare.py", WRITE, f"    {code}\n{WRITE}")
    people.commit("Spoil the manifest")
    refused = people.clew("version")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert said in refused.stderr
    assert people.git("tag", "--list", cwd=people.origin) == ""
    assert not [name for name in SUBJECTS if name in refused.stderr]


def test_only_what_is_new_is_read_but_a_changed_sha256_is_found(people: People) -> None:
    assert people.clew("version").returncode == 0
    people.edit("stages/prepare.py", WRITE, f'    rows[1][5] = "0" * 64\n{WRITE}')
    people.commit("Change a sha256 of an old file")
    refused = people.clew("version")
    assert "its file has another sha256" in refused.stderr


def test_a_changed_schema_is_told_and_kept(people: People) -> None:
    assert people.clew("version").returncode == 0
    people.edit("stages/prepare.py", '"label", "sha256"]]', '"label", "hash"]]')
    people.commit("Another column")
    done = people.clew("version")
    assert done.returncode == 0, done.stderr
    assert "columns changed: new columns hash; without sha256" in done.stderr
    log = people.git("log", "-1", "--format=%B", "refs/clew/log/small")
    assert '"schema_change"' in log


def test_subjects_may_be_in_several_splits_where_that_is_said(people: People) -> None:
    people.edit("stages/prepare.py", WRITE, f'    rows[1][3] = "test"\n{WRITE}')
    people.edit("pipeline.yaml", "records: {", "records: {subjects_across_splits: true, ")
    people.commit("Allow it")
    assert people.clew("version").returncode == 0


def test_somebody_is_forgotten(people: People) -> None:
    people.git("config", "user.name", "T")
    assert people.clew("run").returncode == 0
    assert people.clew("index", "build").returncode == 0
    token = people.answer("subject", "token", SUBJECTS[0])["token"]
    assert len(token) == 64
    outcomes = [
        people.answer("subject", "forget", SUBJECTS[0], *o) for o in (["--dry-run"], [], [])
    ]
    assert [one["outcome"] for one in outcomes] == [
        "would be forgotten",
        "forgotten",
        "nothing to forget",
    ]
    asked = people.clew("audit", "subject", SUBJECTS[0])
    assert asked.returncode == 3
    assert "forgotten" in asked.stderr
    assert people.clew("index", "verify").returncode == 0
    assert people.clew("index", "build").returncode == 0
    assert people.clew("audit", "excluded", SUBJECTS[0], "--since", "2026-01-01").returncode == 1
    vault = people.work / ".clew/vault.db"
    vault.write_bytes(b"nonsense" * 999)
    assert people.clew("subject", "forget", SUBJECTS[1]).returncode == 3


def test_another_key_takes_the_place_of_the_first(people: People) -> None:
    assert people.clew("run").returncode == 0
    assert people.clew("index", "build").returncode == 0
    before = people.answer("subject", "token", SUBJECTS[0])["token"]
    made = people.clew("subject", "key", "--file", "../home/new.key")
    assert made.returncode == 0, made.stderr
    assert people.clew("subject", "key", "--file", "../home/new.key").returncode == 2
    assert people.answer("subject", "rotate", "--new-key-file", "../home/new.key")["subjects"] == 5
    assert people.clew("subject", "token", SUBJECTS[0]).returncode == 3
    people.key.write_text((people.folder / "home/new.key").read_text())
    assert people.answer("subject", "token", SUBJECTS[0])["token"] != before
    assert people.clew("audit", "subject", SUBJECTS[0]).returncode == 3
    assert people.clew("index", "build").returncode == 0
    assert people.clew("audit", "subject", SUBJECTS[0]).returncode == 0
