"""Somebody revokes: the data, the models, the aliases and what an auditor is told."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.system.people import LONG_AGO, MODEL, SUBJECTS, People, asked, change_tag, mlflow, revoke

ADA, BOB = SUBJECTS[:2]


def test_the_whole_story(known: People) -> None:
    assert asked(known, "excluded", BOB, "--since", LONG_AGO, code=1)["verdict"] == "FAIL"
    revoke(known, BOB)
    moment = known.git("rev-parse", "HEAD")
    empty = asked(known, "excluded", BOB, "--since", moment, code=3)
    assert "no model was registered since" in empty["reason"]
    assert empty["counts"]["earlier_and_live"] == 1
    assert asked(known, "pending")["verdict"] == "PASS"
    ran = known.clew("run")
    assert "consent: all subjects agree" in ran.stdout
    proof = asked(known, "excluded", BOB, "--since", moment, "--deployed")
    assert proof["verdict"] == "PASS"
    assert proof["counts"] == {
        "models": 1,
        "manifests": 1,
        "unreadable": 0,
        "deleted": 0,
        "earlier_and_live": 0,
    }
    whole = asked(known, "subject", BOB)
    assert [one["model"] for one in whole["models"]] == [f"{MODEL}/1"]
    assert [one["records"] for one in whole["versions"]] == [2]
    kept = known.answer("reconcile")["consent"]["models"]
    assert {uri: one["verdict"] for uri, one in kept.items()} == {
        f"{MODEL}/1": "withdrawn",
        f"{MODEL}/2": "clean",
    }
    went = asked(known, "diff", f"{MODEL}/1", f"{MODEL}/2", "--reveal")
    assert {row["subject"] for row in went["went"]} == {BOB}
    assert asked(known, "model", f"{MODEL}/2")["verdict"] == "PASS"
    assert asked(known, "model", f"{MODEL}/1", code=1)["verdict"] == "FAIL"


def test_an_opt_out_is_a_pull_request(known: People) -> None:
    known.git("checkout", "-qb", "bob-leaves")
    known.answer("consent", "revoke", BOB, "--push")
    before = consent_of(known)
    assert before["verdict"] == "UNVERIFIABLE"
    assert before["withdrawn"] == 1
    holder = {"model": f"{MODEL}/1", "subjects": 1, "records": 2, "problem": ""}
    assert [one | {"live": []} for one in before["affected"]] == [holder | {"live": []}]
    assert sorted(before["affected"][0]["live"]) == ["alias candidate", "alias production"]
    assert known.clew("run").returncode == 0
    after = consent_of(known)
    assert (after["verdict"], after["standing"]["verdict"]) == ("PASS", "clean")
    shown = known.clew("report").stdout
    assert "**1 subject opted out** since the base" in shown
    assert "Merging this promotes it." in shown
    assert not [name for name in SUBJECTS if name in shown]
    known.git("checkout", "-q", "main")
    known.git("merge", "-q", "--no-ff", "-m", "Merge", "bob-leaves")
    known.git("push", "-q", "origin", "main")
    merged = known.clew("run")
    assert merged.returncode == 0, merged.stderr
    assert known.answer("trace", f"{MODEL}@production")["nodes"][0]["id"] == f"{MODEL}/2"


def consent_of(people: People) -> Any:
    done = people.clew("report", "--format", "json")
    return json.loads(done.stdout)["consent"]


def test_a_report_says_that_a_trained_head_may_not_be_used(known: People) -> None:
    known.git("checkout", "-qb", "side")
    known.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    known.commit("Another rate")
    assert known.clew("run").returncode == 0
    known.git("checkout", "-q", "main")
    revoke(known, BOB)
    refused = known.clew("report", "--head", "side")
    assert refused.returncode == 1
    assert "its data holds records of subjects without consent" in refused.stdout
    assert "**FAIL** for the head: it holds 2 records" in refused.stdout


def test_nothing_is_trained_on_who_revoked_elsewhere(known: People) -> None:
    revoke(known, BOB)
    known.git("checkout", "-qb", "side", "HEAD~1")
    known.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    known.commit("Another rate")
    refused = known.clew("run")
    assert refused.returncode == 1
    assert "2 records of subjects without consent (1 who revoked)" in refused.stderr
    assert BOB not in refused.stderr + refused.stdout


def test_a_revocation_while_it_trains_holds_the_model_back(known: People) -> None:
    known.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    known.commit("Another rate")
    trained = known.clew("train")
    assert trained.returncode == 0, trained.stderr
    other = People(known.folder, variables=known.variables)
    known.git("clone", "-q", "../origin.git", "../other", cwd=known.work)
    clone = known.folder / "other"
    registry = clone / "data/consent.csv"
    registry.write_text(registry.read_text().replace(f"{BOB},active", f"{BOB},revoked"))
    other.git("commit", "-qam", "Revoke", cwd=clone)
    other.git("push", "-q", "origin", "main", cwd=clone)
    held = known.clew("run")
    assert held.returncode == 1
    assert "not promoted: it holds 2 records of subjects without consent" in held.stdout
    assert known.answer("trace", f"{MODEL}@production")["nodes"][0]["id"] == f"{MODEL}/1"


def test_who_is_unknown_to_the_registry_never_agreed(known: People) -> None:
    known.say(subjects=SUBJECTS[:4])
    known.edit("stages/prepare.py", 'if row["subject_id"] in active', "if True")
    known.commit("Ignore the registry")
    refused = known.clew("run")
    assert refused.returncode == 1
    assert "1 unknown to the registry" in refused.stderr


def test_the_history_of_a_subject_is_in_git(known: People) -> None:
    revoke(known, BOB)
    again = known.answer("consent", "revoke", BOB)
    assert (again["outcome"], again["commit"]) == ("already so", None)
    known.answer("consent", "grant", BOB, "--at", "2026-06-01T10:00+02:00")
    shown = known.answer("consent", "show", BOB)
    past = [(one["status"], one["updated_at"][:10]) for one in shown["history"]]
    assert past[0] == ("active", "2026-06-01")
    assert [status for status, _ in past] == ["active", "revoked", "active"]
    log = known.git("log", "-3", "--format=%B")
    assert BOB not in log
    assert "Clew-Consent: revoked" in log
    assert known.clew("consent", "show", "nobody").returncode == 1


def test_a_broken_registry_of_the_past_is_told_as_such(known: People) -> None:
    sound = known.registry.read_text()
    known.registry.write_text(f"{sound}x,maybe,2026-01-01,\n")
    known.commit("Break it")
    known.registry.write_text(sound)
    known.commit("Mend it")
    past = known.answer("consent", "show", BOB)["history"]
    assert [(one["status"], one["readable"]) for one in past] == [
        ("active", True),
        (None, False),
        ("active", True),
    ]
    assert "the registry can't be read" in known.clew("consent", "show", BOB).stdout


def test_a_revocation_that_was_killed_before_its_commit_is_taken_up(known: People) -> None:
    sound = known.registry.read_text()
    said = f"{BOB},revoked,2026-02-01T00:00:00Z,why"
    written = sound.replace(f"{BOB},active,2026-01-15T00:00:00Z,", said)
    known.registry.write_text(written)
    refused = known.clew("consent", "revoke", ADA)
    assert refused.returncode == 2
    assert known.answer("consent", "revoke", BOB, "--dry-run")["outcome"] == "would be committed"
    done = known.answer("consent", "revoke", BOB, "--reason", "why")
    assert known.git("show", "--name-only", "--format=", done["commit"]) == "data/consent.csv"
    assert known.registry.read_text() == written
    assert known.git("status", "--porcelain", "--", "data/consent.csv") == ""


def test_a_change_leaves_other_work_alone(known: People) -> None:
    known.edit("params.yaml", "lr: 0.5", "lr: 0.9")
    known.git("add", "params.yaml")
    done = known.answer("consent", "revoke", BOB)
    assert known.git("show", "--name-only", "--format=", done["commit"]) == "data/consent.csv"
    assert known.git("diff", "--cached", "--name-only") == "params.yaml"
    known.registry.write_text(known.registry.read_text() + "\n")
    refused = known.clew("consent", "revoke", ADA)
    assert refused.returncode == 2
    assert "not committed" in refused.stderr


def test_no_id_is_left_anywhere_but_in_data_and_registry(known: People) -> None:
    revoke(known, BOB)
    outputs = [known.clew("run"), known.clew("index", "build"), known.clew("audit", "subject", BOB)]
    outputs.append(known.clew("audit", "excluded", BOB, "--since", LONG_AGO))
    outputs.append(known.clew("audit", "report", BOB, "-o", "../page"))
    outputs.append(known.clew("audit", "report", f"{MODEL}/2", "-o", "../model-page"))
    outputs.append(known.clew("reconcile"))
    assert all(name not in done.stdout + done.stderr for done in outputs for name in SUBJECTS)
    for done in outputs:
        assert done.returncode in (0, 1), done.stderr
    written = [known.work / ".clew/records", known.work / ".clew/vault.db", known.folder / "page"]
    written += [
        known.folder / "model-page",
        known.work / ".clew/mlflow.db",
        known.work / ".clew/cache",
    ]
    files = [path for place in written for path in (place, *place.rglob("*")) if path.is_file()]
    assert len(files) > 5
    log = known.git("log", "--format=%B", "refs/clew/log/small")
    assert not [name for name in SUBJECTS if name in log]
    for path in files:
        content = path.read_bytes()
        assert not [name for name in SUBJECTS if name.encode() in content], path


def test_the_page_asks_nobody_for_anything(known: People) -> None:
    assert known.clew("audit", "report", ADA, "-o", "../page").returncode == 0
    page = (known.folder / "page/index.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?!#)", page)
    assert "<script" not in page
    report = json.loads((known.folder / "page/report.json").read_text())
    assert report["verdict"] == "PASS"


# --- nothing that is missing can pass -------------------------------------------------------------


def lose_manifest(people: People) -> None:
    for place in (people.storage, people.work / ".dvc/cache"):
        for path in (p for p in place.rglob("*") if p.is_file()):
            if path.read_bytes().startswith(b"subject_id"):
                path.chmod(0o600)
                path.unlink()


def change_manifest(people: People) -> None:
    for place in (people.storage, people.work / ".dvc/cache"):
        for path in (p for p in place.rglob("*") if p.is_file()):
            if path.read_bytes().startswith(b"subject_id"):
                path.chmod(0o600)
                path.write_bytes(path.read_bytes().replace(b"person-bob", b"person-xxx"))


def truncate_manifest(people: People) -> None:
    for place in (people.storage, people.work / ".dvc/cache"):
        for path in (p for p in place.rglob("*") if p.is_file()):
            if path.read_bytes().startswith(b"subject_id"):
                path.chmod(0o600)
                path.write_bytes(path.read_bytes()[:120])


def lose_mlflow(people: People) -> None:
    (people.work / ".clew/mlflow.db").rename(people.folder / "away.db")


def lose_remote(people: People) -> None:
    people.origin.rename(people.folder / "away.git")


def rewrite_log(people: People) -> None:
    people.git("update-ref", "-d", "refs/clew/log/small", cwd=people.origin)


def break_log(people: People) -> None:
    tree = people.git("rev-parse", "HEAD^{tree}")
    made = people.git("commit-tree", "-p", "refs/clew/log/small", "-m", "no entry", tree)
    people.git("push", "-q", "origin", f"{made}:refs/clew/log/small")


def lose_tags_of_data(people: People) -> None:
    change_tag(people, "data_fingerprint", "0" * 64)


def swap_bytes(people: People) -> None:
    """Give version 1 another place of bytes, with all of its words as they were."""
    mlflow(
        people,
        "old = client.get_model_version('small-model', '1')\n"
        "client.delete_registered_model('small-model')\n"
        "client.create_registered_model('small-model')\n"
        "place = f'{old.source}-other'\n"
        "client.create_model_version('small-model', place, run_id=old.run_id, tags=old.tags)\n"
        "client.set_registered_model_alias('small-model', 'production', '1')",
    )


def lose_log_everywhere(people: People) -> None:
    rewrite_log(people)
    for ref in ("refs/clew/log/small", "refs/clew/remote-log/small"):
        people.git("update-ref", "-d", ref)


EVIDENCE: list[Callable[[People], None]] = [
    lose_manifest,
    change_manifest,
    truncate_manifest,
    lose_mlflow,
    lose_remote,
    rewrite_log,
    break_log,
    lose_tags_of_data,
    swap_bytes,
    lose_log_everywhere,
]


@pytest.mark.parametrize("lose", EVIDENCE, ids=lambda lose: lose.__name__)
def test_lost_evidence_never_passes(known: People, lose: Callable[[People], None]) -> None:
    assert asked(known, "excluded", "nobody", "--since", LONG_AGO)["verdict"] == "PASS"
    lose(known)
    for arguments in (
        ("excluded", "nobody", "--since", LONG_AGO),
        ("excluded", "nobody", "--since", LONG_AGO, "--deployed"),
        ("subject", "nobody"),
        ("records", f"{MODEL}/1"),
        ("pending",),
    ):
        done = known.clew("audit", *arguments)
        assert done.returncode == 3, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    for about in (f"{MODEL}/1", "nobody"):  # of a model, what was edited is a FAIL
        done = known.clew("audit", "report", about, "-o", "../page")
        assert done.returncode in (1, 3), done.stdout + done.stderr
        assert "PASS" not in done.stdout


@pytest.mark.parametrize("lost", ["key", "vault", "index"])
def test_without_key_vault_or_a_sound_index_no_subject_is_found(known: People, lost: str) -> None:
    assert len(asked(known, "subject", BOB)["models"]) == 1
    if lost == "key":
        known.key.unlink()
    elif lost == "vault":
        for path in (known.work / ".clew").glob("vault.db*"):
            path.unlink()
    else:
        (index,) = (known.work / ".clew/records").glob("*.db")
        index.write_bytes(b"nonsense" * 4096)
    for offline in ((), ("--offline",)):
        done = known.clew("audit", "subject", BOB, *offline)
        assert done.returncode in (2, 3), done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_an_index_behind_the_log_says_so(known: People, tmp_path: Path) -> None:
    asked(known, "subject", BOB)
    shutil.copytree(known.work / ".clew/records", tmp_path / "old")
    revoke(known, BOB)
    known.clew("run")
    shutil.rmtree(known.work / ".clew/records")
    shutil.copytree(tmp_path / "old", known.work / ".clew/records")
    behind = known.clew("audit", "subject", ADA, "--offline")
    assert behind.returncode == 3
    assert "clew index update" in behind.stderr
    assert len(asked(known, "subject", ADA)["models"]) == 2


def test_the_offline_answer_needs_no_mlflow(known: People) -> None:
    asked(known, "subject", BOB)
    lose_mlflow(known)
    lose_remote(known)
    found = asked(known, "subject", BOB, "--offline")
    assert [one["model"] for one in found["models"]] == [f"{MODEL}/1"]
    assert os.environ.get("MLFLOW_TRACKING_URI") is None
