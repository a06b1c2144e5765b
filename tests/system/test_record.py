"""What MLflow holds of a run: the public contract, whole, also of a run that failed."""

from __future__ import annotations

import json
from typing import Any

from tests.system.small import Small


def runs(small: Small) -> dict[str, Any]:
    """Return the newest MLflow run of each stage."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{small.work}/.clew/mlflow.db")
    experiment = client.get_experiment_by_name("small").experiment_id
    found = client.search_runs([experiment], order_by=["attributes.start_time ASC"])
    return {run.data.tags["clew.stage"]: run for run in found}


def test_every_run_says_what_it_was_and_on_which_data(ran: Small) -> None:
    answer = ran.answer("resolve")
    asked = ran.git("rev-parse", "HEAD~1")  # whose dvc.lock HEAD carries
    found = runs(ran)
    assert found.keys() == {"run", "process", "train", "evaluate"}
    for stage, run in found.items():
        tags = run.data.tags
        assert tags["clew.trigger"] == tags["clew.executor"] == "local", stage
        assert tags["clew.dirty"] == "false"
        assert tags["mlflow.source.git.commit"] == asked
        assert tags["clew.outcome"] == "completed"
        (given,) = run.inputs.dataset_inputs
        source = json.loads(given.dataset.source)
        assert given.dataset.source_type == "dvc"
        assert given.dataset.digest == answer["data_fingerprint"][:36]
        assert source["rev"] == answer["data_git_commit_id"], stage
        assert source["paths"] == "data/prepared"


def test_the_verdict_and_the_files_are_kept(ran: Small) -> None:
    from mlflow import MlflowClient

    found = runs(ran)
    assert found["evaluate"].data.tags["clew.gate"] == "passed"
    assert found["evaluate"].data.tags["clew.baseline"] == "none"
    assert found["evaluate"].data.metrics == found["train"].data.metrics
    client = MlflowClient(f"sqlite:///{ran.work}/.clew/mlflow.db")
    kept = {file.path for file in client.list_artifacts(found["train"].info.run_id, "outputs")}
    assert kept >= {"outputs/metrics.json", "outputs/dvc.lock"}


def test_a_failed_run_says_why(ran: Small) -> None:
    ran.edit("params.yaml", "fail: false", "fail: true")
    ran.commit("Fail")
    assert ran.clew("run").returncode == 4
    found = runs(ran)
    for stage in ("run", "train"):
        assert found[stage].info.status == "FAILED"
        assert "the loss is NaN" in found[stage].data.tags["clew.failure"]


def test_a_dirty_run_is_marked_and_leaves_no_tag(ran: Small) -> None:
    before = ran.git("tag")
    ran.edit("params.yaml", "count: 5", "count: 6")
    answer = ran.answer("run", "--allow-dirty")
    assert answer["register"]["held_back"]
    assert runs(ran)["train"].data.tags["clew.dirty"] == "true"
    assert ran.git("tag") == before


def test_an_older_commit_runs_its_own_code(ran: Small) -> None:
    ran.edit("stages/train.py", "trained on", "OLD CODE on")
    old = ran.commit("Old")
    ran.edit("stages/train.py", "OLD CODE on", "NEW CODE on")
    ran.commit("New")
    done = ran.clew("run", "--commit", old)
    assert done.returncode == 0, done.stderr
    assert "OLD CODE on" in done.stderr
    assert "NEW CODE on" not in done.stderr
