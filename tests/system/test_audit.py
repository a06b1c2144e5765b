"""What an auditor is told when MLflow, the log and the clock don't agree."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.system.people import LONG_AGO, MODEL, SUBJECTS, People, asked, mlflow, revoke

BOB = SUBJECTS[1]


def excluded(people: People, subject: str, *options: str, code: int) -> Any:
    return asked(people, "excluded", subject, "--since", LONG_AGO, *options, code=code)


REGISTERED_ANEW = """
old = client.get_model_version('small-model', '1')
client.delete_registered_model('small-model')
client.create_registered_model('small-model')
tags = dict(old.tags) | {changed!r}
client.create_model_version('small-model', old.source, run_id={run}, tags=tags)
client.set_registered_model_alias('small-model', 'production', '1')
"""


def test_a_number_that_is_given_out_again_is_another_model(known: People) -> None:
    run = "client.create_run('0').info.run_id"
    mlflow(known, REGISTERED_ANEW.format(run=run, changed={}))
    found = excluded(known, "nobody", code=3)
    assert found["counts"]["models"] == 2
    assert found["counts"]["deleted"] == 1
    assert "is not the param of its run" in found["reason"]


def test_tags_that_all_point_elsewhere_are_found_out(known: People) -> None:
    revoke(known, BOB)
    assert known.clew("run").returncode == 0
    mlflow(
        known,
        "clean = client.get_model_version('small-model', '2').tags\n"
        "for name in ('data_version', 'data_fingerprint', 'data_git_commit_id'):\n"
        "    client.set_model_version_tag('small-model', '1', name, clean[name])",
    )
    assert "in MLflow is not what the log has" in excluded(known, "nobody", code=3)["reason"]
    for question in (("records", f"{MODEL}/1"), ("diff", f"{MODEL}/1", f"{MODEL}/2")):
        done = known.clew("audit", *question)
        assert done.returncode == 3, done.stdout
    assert known.clew("audit", "subject", "nobody").returncode == 3
    assert known.clew("audit", "model", f"{MODEL}/1").returncode == 1


def test_a_removed_tag_is_a_difference(known: People) -> None:
    mlflow(known, "client.delete_model_version_tag('small-model', '1', 'code_git_commit_id')")
    assert excluded(known, "nobody", code=3)["counts"]["unreadable"] == 1
    assert known.clew("audit", "model", f"{MODEL}/1").returncode != 0


def test_a_model_from_before_the_log_passes_nobody(known: People) -> None:
    known.git("update-ref", "-d", "refs/clew/log/small", cwd=known.origin)
    for ref in ("refs/clew/log/small", "refs/clew/remote-log/small"):
        known.git("update-ref", "-d", ref)
    found = excluded(known, "nobody", code=3)
    assert "nobody signed its manifest off" in found["reason"]
    assert excluded(known, BOB, code=1)["verdict"] == "FAIL"


def test_a_deleted_run_takes_a_witness_away(known: People) -> None:
    mlflow(known, "client.delete_run(client.get_model_version('small-model', '1').run_id)")
    for options in ((), ("--deployed",)):
        found = excluded(known, "nobody", *options, code=3)
        assert "its run is deleted in MLflow" in found["reason"]
        assert found["counts"]["deleted"] == 1
    assert "its run is deleted" in asked(known, "pending", code=3)["reason"]
    assert excluded(known, "nobody", "--allow-deleted", code=0)["counts"]["deleted"] == 1
    assert excluded(known, BOB, "--allow-deleted", code=1)["verdict"] == "FAIL"
    assert asked(known, "subject", BOB)["models"][0]["deleted"] == "run"


def test_a_deleted_model_is_still_counted(known: People) -> None:
    mlflow(
        known,
        "run = client.get_model_version('small-model', '1').run_id\n"
        "client.delete_model_version('small-model', '1')\n"
        "client.delete_run(run)",
    )
    found = asked(known, "excluded", BOB, "--since", LONG_AGO, code=1)
    assert found["verdict"] == "FAIL"
    assert found["counts"]["deleted"] == 1


def test_a_deleted_version_can_still_be_listed(known: People) -> None:
    mlflow(known, "client.delete_model_version('small-model', '1')")
    assert len(asked(known, "records", f"{MODEL}/1")["records"]) == 10
    assert known.clew("audit", "records", f"{MODEL}/9").returncode == 2


def test_a_lost_data_commit_is_unverifiable(known: People) -> None:
    data = known.git("log", "-1", "--format=%H", "--", "dvc.lock")
    known.edit("params.yaml", "lr: 0.5", "lr: 0.5 ")
    for repository in (known.origin, known.work):
        tags = known.git("tag", "--list", "data/*", cwd=repository)
        known.git("tag", "-d", *tags.split(), cwd=repository)
    fresh = known.folder / "fresh"
    known.git("update-ref", "refs/heads/main", f"{data}~1", cwd=known.origin)
    known.git("clone", "-q", "--single-branch", f"file://{known.origin}", str(fresh))
    (fresh / ".clew").mkdir()
    for name in ("mlflow.db", "artifacts"):
        if (known.work / ".clew" / name).exists():
            (fresh / ".clew" / name).symlink_to(known.work / ".clew" / name)
    known.git("reflog", "expire", "--expire=now", "--all", cwd=known.origin)
    known.git("gc", "-q", "--prune=now", cwd=known.origin)
    done = known.clew("audit", "excluded", "nobody", "--since", LONG_AGO, cwd=fresh)
    assert done.returncode == 3, done.stdout + done.stderr


@pytest.mark.parametrize("when", ["2026-01-01", "2026-01-01T00:00Z", "HEAD~1", "tag"])
def test_when_has_several_forms(known: People, when: str) -> None:
    if when == "tag":
        when = known.git("tag", "--list", "data/*")
    assert asked(known, "excluded", BOB, "--since", when, code=1)["counts"]["models"] == 1


@pytest.mark.parametrize("when", ["yesterday", "2026-01-01T00:00", "20260101", "data/small/0"])
def test_when_must_be_plain(known: People, when: str) -> None:
    assert known.clew("audit", "excluded", BOB, "--since", when).returncode == 2


def test_no_model_at_all_passes_only_when_asked_to(known: People) -> None:
    later = ("excluded", BOB, "--since", datetime.now(UTC).isoformat())
    assert asked(known, *later, code=3)["counts"]["models"] == 0
    assert asked(known, *later, "--allow-empty")["verdict"] == "PASS"
    live = asked(known, *later, "--allow-empty", "--deployed", code=1)
    assert live["earlier"][0]["verdict"] == "FAIL"


def test_formulas_stay_text(known: People) -> None:
    formula = "=HYPERLINK(1)"
    known.say(subjects=(*SUBJECTS, formula))
    with (known.work / "data/people.csv").open("a") as file:
        file.write(f"{formula},+1,train,@label\n")
    known.commit("Somebody odd")
    assert known.clew("run").returncode == 0
    listed = known.clew("audit", "records", f"{MODEL}/2", "--reveal").stdout
    assert f"'+1,'{formula},train,'@label" in listed
    assert asked(known, "subject", formula)["versions"][0]["records"] == 1


def test_without_the_branch_whose_registry_holds_nothing_is_trained(known: People) -> None:
    known.edit("pipeline.yaml", "records: {", "promotion: {branch: trunk}\nrecords: {")
    known.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    known.commit("Another promotion branch")
    refused = known.clew("run")
    assert refused.returncode == 3
    assert "no branch trunk" in refused.stderr


def test_an_edited_tag_does_not_make_a_model_clean(known: People) -> None:
    revoke(known, BOB)
    assert known.clew("run").returncode == 0
    mlflow(
        known,
        "clean = client.get_model_version('small-model', '2').tags\n"
        "name = 'data_fingerprint'\n"
        "client.set_model_version_tag('small-model', '1', name, clean[name])",
    )
    models = known.answer("reconcile")["consent"]["models"]
    assert models[f"{MODEL}/1"]["verdict"] == "unverifiable"
    assert models[f"{MODEL}/2"]["verdict"] == "clean"


def test_a_moment_that_is_none_or_has_not_come_is_refused(known: People) -> None:
    for moment in (
        "2099-01-01",
        "2099-01-01T00:00Z",
        "2026-01-01T00:00",
        "yesterday",
        "data/small/x",
    ):
        done = known.clew("audit", "excluded", "nobody", "--since", moment, "--allow-empty")
        assert done.returncode == 2, done.stdout
        assert "Traceback" not in done.stderr
