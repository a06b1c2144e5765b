"""The model: seeded, honest, better with more data, and the same file in SageMaker's layout."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.stages.test_prepare import HERE, run, workspace

STAGES = HERE / "scripts/stages"


def stage(name: str, folder: Path, *arguments: str, **environment: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SM_", "MLFLOW_"))}
    done = subprocess.run(
        [sys.executable, STAGES / f"{name}.py", *arguments],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def measured(folder: Path) -> dict[str, Any]:
    stage("train", folder)
    stage("evaluate", folder)
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return metrics


@pytest.mark.slow
def test_more_data_is_better_and_both_beat_the_majority_by_far(tmp_path: Path) -> None:
    small, large = workspace(tmp_path / "a", 0.05), workspace(tmp_path / "b", 0.10)
    assert run(small).returncode == run(large).returncode == 0
    five, ten = measured(small), measured(large)
    assert ten["accuracy"] > five["accuracy"] > 5 * five["majority_accuracy"]
    assert ten["macro_f1"] > five["macro_f1"]
    assert five["n"] == ten["n"] > 1_000
    assert len(five["recall"]) == 10
    rows = (small / "plots/confusion.csv").read_text().splitlines()
    assert len(rows) == five["n"] + 1
    hits = sum(row.split(",")[0] == row.split(",")[1] for row in rows[1:])
    assert hits / five["n"] == pytest.approx(five["accuracy"])
    assert measured(small) == five
    assert not (small / "mlruns").exists()
    assert not (small / "mlflow.db").exists()


@pytest.mark.slow
def test_the_same_file_runs_in_a_sagemaker_container(tmp_path: Path) -> None:
    folder = workspace(tmp_path / "a", 0.05)
    assert run(folder).returncode == 0
    channel, model = tmp_path / "ml/input/data/prepared", tmp_path / "ml/model"
    channel.parent.mkdir(parents=True)
    (folder / "data/prepared").rename(channel)
    given = {"SM_CHANNEL_PREPARED": str(channel), "SM_MODEL_DIR": str(model)}
    stage("train", folder, "-C", "1e-05", SM_HPS='{"train.seed": 3}', **given)
    stage("evaluate", folder, **given)
    metrics = json.loads((folder / "metrics.json").read_text())
    card = yaml.safe_load((model / "MLmodel").read_text())
    assert {"inputs", "outputs"} <= card["signature"].keys()
    assert (model / card["saved_input_example_info"]["artifact_path"]).exists()
    assert not (folder / "model").exists()
    assert metrics["accuracy"] < 0.5  # so weak a machine: the argument was heard


def test_hyperparameters_override_params_and_are_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train import hyperparameters  # here: MLflow and scikit-learn take seconds to import

    (tmp_path / "params.yaml").write_text("train: {C: 1e1, gamma: scale, seed: 7}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SM_HPS", '{"train.seed": 3, "gamma": 0.5, "prepare.key": "x"}')
    found = hyperparameters(["--train.seed", "4"])
    assert found == {"C": 10.0, "gamma": 0.5, "seed": 4}


@pytest.mark.slow
def test_the_runs_model_and_metrics_are_the_folders(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    folder = workspace(tmp_path / "a", 0.05)
    assert run(folder).returncode == 0
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("x", (tmp_path / "artifacts").as_uri())
    waiting = client.create_run(experiment)
    given = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "MLFLOW_RUN_ID": waiting.info.run_id,
    }
    stage("train", folder, **given)
    stage("evaluate", folder, **given)
    done = client.get_run(waiting.info.run_id)
    (output,) = done.outputs.model_outputs
    logged = tmp_path / "artifacts/models" / output.model_id / "artifacts"
    for path in logged.iterdir():
        assert (folder / "model" / path.name).read_bytes() == path.read_bytes()
    metrics = json.loads((folder / "metrics.json").read_text())
    recall = {f"recall.{name}": value for name, value in metrics.pop("recall").items()}
    assert done.data.metrics == metrics | recall


def test_stages_import_nothing_of_clew() -> None:
    for path in STAGES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in getattr(node, "names", ()) if hasattr(alias, "name")]
            module = getattr(node, "module", None) or ""
            assert not any(str(name).split(".")[0] == "clew" for name in [*names, module])
