"""train: fit the classifier and hand the model over, in a folder and to MLflow.

Runs the same by `dvc repro`, in a job, and as a SageMaker script-mode entry point.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import dataset
import mlflow
import sklearn
import skops
import yaml
from mlflow.models import infer_signature
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

EXAMPLE_ROWS = 3


def main(arguments: list[str]) -> None:
    params = hyperparameters(arguments)
    pixels, labels = dataset.load("train")
    model = build(params).fit(pixels, labels)
    print(f"trained on {len(labels)} images of {len(set(labels))} classes")
    hand_over(model, pixels[:EXAMPLE_ROWS])


def hyperparameters(arguments: list[str]) -> dict[str, Any]:
    """Return params.yaml's `train`, overridden by SM_HPS and by `--name value` arguments."""
    params: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text())["train"]
    given = json.loads(os.environ.get("SM_HPS", "{}"))
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    given |= {name.lstrip("-"): value for name, value in pairs}
    known = {name.removeprefix("train."): value for name, value in given.items()}
    params |= {name: value for name, value in known.items() if name in params}
    return {name: _plain(value) for name, value in params.items()}


def _plain(value: Any) -> Any:
    """Return a number that came as text as a number: an argument, or 1e-3, text to PyYAML."""
    if isinstance(value, str):
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return kind(value)
    return value


def build(params: dict[str, Any]) -> Pipeline:
    machine = SVC(C=params["C"], gamma=params["gamma"], random_state=params["seed"])
    return make_pipeline(StandardScaler(), machine)


def hand_over(model: Pipeline, example: dataset.Pixels) -> None:
    """Write the model folder; where a run waits for it, the folder is the logged model itself."""
    target = Path(os.environ.get("SM_MODEL_DIR", "model"))
    shutil.rmtree(target, ignore_errors=True)
    options: dict[str, Any] = {
        "signature": infer_signature(example, model.predict(example)),
        "input_example": example,
        "pip_requirements": requirements(),
        "serialization_format": "skops",
    }
    if "MLFLOW_RUN_ID" not in os.environ:
        mlflow.sklearn.save_model(model, target, **options)
        return
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(model, name="model", **options)
    mlflow.artifacts.download_artifacts(logged.model_uri, dst_path=str(target))


def requirements() -> list[str]:
    packages = (mlflow, sklearn, skops)
    names = ("mlflow", "scikit-learn", "skops")
    return [f"{n}=={p.__version__}" for n, p in zip(names, packages, strict=True)]


if __name__ == "__main__":
    main(sys.argv[1:])
