"""resolve, trace and check through the command line, with evidence intact and spoilt."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.system.small import Small


def facts(trace: dict[str, Any], kind: str) -> dict[str, str]:
    return {f["key"]: f["value"] for n in trace["nodes"] if n["kind"] == kind for f in n["facts"]}


def kinds(trace: dict[str, Any]) -> set[str]:
    return {node["kind"] for node in trace["nodes"]}


def spoil(small: Small, statement: str) -> None:
    with closing(sqlite3.connect(small.work / ".clew/mlflow.db")) as database, database:
        assert database.execute(statement).rowcount > 0


def test_the_fingerprint_can_be_computed_from_what_resolve_prints(ran: Small) -> None:
    answer = ran.answer("resolve")
    outputs = sorted(answer["outputs"], key=lambda output: output["path"])
    text = json.dumps(outputs, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == answer["data_fingerprint"]
    assert outputs[0].keys() == {"path", "hash", "md5", "size", "nfiles"}
    assert answer["data_version"] == f"data/small/{answer['data_fingerprint'][:12]}"


def test_resolve_before_any_data_says_what_to_do(small: Small) -> None:
    done = small.clew("resolve")
    assert done.returncode == 2
    assert "clew process" in done.stderr


@pytest.mark.parametrize("subject", ["models:/small-model/1", "models:/small-model@production"])
def test_trace_leads_from_the_model_to_the_remote(ran: Small, subject: str) -> None:
    trace = ran.answer("trace", subject)
    assert trace["verdict"] == "PASS"
    assert kinds(trace) == {
        *("model version", "MLflow run", "job", "commit"),
        *("data version", "DVC pointer", "DVC remote"),
    }
    resolved = ran.answer("resolve")
    model = facts(trace, "model version")
    assert model["data_git_commit_id"] == resolved["data_git_commit_id"]
    assert facts(trace, "DVC pointer")["md5"] == resolved["outputs"][0]["md5"]
    relations = {edge["relation"] for edge in trace["edges"]}
    assert relations >= {"trained by", "data_git_commit_id", "holds", "stored in", "tagged as"}
    assert all(f["source"] for node in trace["nodes"] for f in node["facts"])


def test_trace_starts_anywhere_and_finds_the_model(ran: Small) -> None:
    chain = facts(ran.answer("trace", "models:/small-model/1"), "model version")
    run = next(
        node["id"]
        for node in ran.answer("trace", "models:/small-model/1")["nodes"]
        if node["kind"] == "MLflow run"
    )
    for subject in (run, chain["data_version"], chain["data_git_commit_id"], "HEAD"):
        trace = ran.answer("trace", subject)
        assert trace["verdict"] == "PASS", subject
        assert "model version" in kinds(trace), subject


@pytest.mark.parametrize(
    "subject", ["models:/small-model/9", "models:/none@production", "data/small/none", "0" * 32]
)
def test_what_does_not_exist_is_said_in_one_line(ran: Small, subject: str) -> None:
    done = ran.clew("trace", subject)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) <= 2


@pytest.mark.parametrize(
    ("statement", "verdict", "code"),
    [
        ("UPDATE params SET value = 'x' WHERE key = 'data_fingerprint'", "FAIL", 1),
        (
            "UPDATE model_version_tags SET value = 'x' WHERE key = 'data_git_commit_id'",
            "FAIL",
            1,
        ),
        ("DELETE FROM model_version_tags WHERE key = 'data_version'", "UNVERIFIABLE", 3),
        ("UPDATE runs SET lifecycle_stage = 'deleted'", "UNVERIFIABLE", 3),
        ("UPDATE params SET value = '9.9' WHERE key = 'train.lr'", "FAIL", 1),
        ("UPDATE runs SET status = 'FAILED'", "FAIL", 1),
        ("DELETE FROM tags WHERE key = 'clew.outcome'", "FAIL", 1),
    ],
)
def test_spoilt_evidence_never_passes(ran: Small, statement: str, verdict: str, code: int) -> None:
    spoil(ran, statement)
    done = ran.clew("trace", "models:/small-model/1", "--json")
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["verdict"] == verdict


@pytest.mark.parametrize("harm", ["overwritten", "missing", "emptied listing"])
def test_harm_to_the_data_never_passes(ran: Small, harm: str) -> None:
    objects = sorted(path for path in ran.storage.rglob("*") if path.is_file())
    (listing,) = (path for path in objects if path.suffix == ".dir")
    victim = listing if harm == "emptied listing" else objects[0]
    victim.chmod(0o644)
    victim.unlink() if harm == "missing" else victim.write_text("[]")
    for subject in ("models:/small-model/1", "HEAD", ran.answer("resolve")["data_version"]):
        done = ran.clew("trace", subject, "--json")
        assert done.returncode in (1, 3), subject
        assert json.loads(done.stdout)["verdict"] in ("FAIL", "UNVERIFIABLE")


def test_a_tag_on_other_data_never_passes(ran: Small) -> None:
    tag = ran.answer("resolve")["data_version"]
    root = ran.git("rev-list", "--max-parents=0", "HEAD")
    ran.git("tag", "-f", "-a", "-m", "moved", tag, root)
    assert ran.clew("trace", tag).returncode in (1, 3)


def test_trace_without_mlflow_is_unverifiable_and_makes_nothing(ran: Small) -> None:
    shutil.rmtree(ran.work / ".clew")
    for subject in ("models:/small-model/1", "HEAD"):
        done = ran.clew("trace", subject)
        assert done.returncode == 3
        assert "no MLflow database" in done.stderr
    assert not (ran.work / ".clew/mlflow.db").exists()


def test_a_run_with_other_params_can_be_traced(ran: Small) -> None:
    ran.answer("run", "--param", "train.lr=0.7")
    trace = ran.answer("trace", "models:/small-model/2")
    assert trace["verdict"] == "PASS"
    assert facts(trace, "MLflow run")["train.lr"] == "0.7"


def test_a_missing_tag_is_unverifiable(ran: Small) -> None:
    tag = ran.git("tag")
    ran.git("tag", "-d", tag)
    ran.git("tag", "-d", tag, cwd=ran.origin)
    done = ran.clew("trace", "models:/small-model/1", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["verdict"] == "UNVERIFIABLE"


def test_check_passes_on_a_good_repository(ran: Small) -> None:
    assert all(result["passed"] for result in ran.answer("check"))


def test_check_names_what_to_fix(ran: Small) -> None:
    ran.dvc("remote", "modify", "storage", "verify", "false")
    (ran.work / "stages/train.py").write_text("x = 1\n")
    done = ran.clew("check", "--json")
    assert done.returncode == 2
    failed = {result["name"]: result for result in json.loads(done.stdout) if not result["passed"]}
    assert failed.keys() == {"clean tree, complete inputs", "verify = true"}
    assert all(result["fix"] for result in failed.values())


def test_errors_are_json_for_programs(ran: Small) -> None:
    done = ran.clew("trace", "models:/none/1", "--json")
    answer = json.loads(done.stdout)
    assert answer["exit_code"] == done.returncode == 2
    assert answer["error"]
