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
    stage("train", folder, "--C", "0.001", SM_HPS='{"train.seed": 3}', **given)
    stage("evaluate", folder, **given)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (model / "MLmodel").exists()
    assert not (folder / "model").exists()
    assert metrics["accuracy"] < 0.5  # so weak a machine: the argument was heard


def test_stages_import_nothing_of_clew() -> None:
    for path in STAGES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in getattr(node, "names", ()) if hasattr(alias, "name")]
            module = getattr(node, "module", None) or ""
            assert not any(str(name).split(".")[0] == "clew" for name in [*names, module])
