"""evaluate: honest figures of the very model that is handed over, on people it never saw."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import dataset
import mlflow
from sklearn.metrics import accuracy_score, f1_score, recall_score


def main() -> None:
    model = mlflow.sklearn.load_model(os.environ.get("SM_MODEL_DIR", "model"))
    pixels, labels = dataset.load("test")
    predicted = model.predict(pixels)
    metrics = measure(labels, predicted, dataset.load("train")[1])
    Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    write_confusion(Path("plots/confusion.csv"), labels, predicted)
    print(f"accuracy {metrics['accuracy']:.4f}, macro F1 {metrics['macro_f1']:.4f}")
    if "MLFLOW_RUN_ID" in os.environ:
        recall = {f"recall.{name}": value for name, value in metrics.pop("recall").items()}
        with mlflow.start_run():
            mlflow.log_metrics(metrics | recall)


def measure(
    labels: dataset.Labels, predicted: dataset.Labels, trained_on: dataset.Labels
) -> dict[str, Any]:
    """Return the metrics; `n` is the number of test images that they are shares of."""
    classes = sorted(set(labels))
    recall = recall_score(labels, predicted, labels=classes, average=None, zero_division=0)
    majority, _ = Counter(trained_on).most_common(1)[0]
    return {
        "accuracy": accuracy_score(labels, predicted),
        "macro_f1": f1_score(labels, predicted, average="macro"),
        "majority_accuracy": float((labels == majority).mean()),
        "n": len(labels),
        "recall": dict(zip(classes, map(float, recall), strict=True)),
    }


def write_confusion(path: Path, labels: dataset.Labels, predicted: dataset.Labels) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["actual", "predicted"])
        writer.writerows(zip(labels, predicted, strict=True))


if __name__ == "__main__":
    main()
