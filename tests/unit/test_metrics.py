"""Metrics files of the train stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew.config.model import MetricsFile
from clew.errors import JobFailed
from clew.metrics import read_metrics


def test_nested_names_are_joined_and_only_numbers_count(tmp_path: Path) -> None:
    text = '{"accuracy": 1, "recall": {"a b": 0.5}, "name": "x", "ok": true, "list": [1]}'
    (tmp_path / "metrics.json").write_text(text)
    (tmp_path / "more.yaml").write_text("loss: 0.25\n")
    files = [MetricsFile("metrics.json"), MetricsFile("more.yaml", lower=("loss",))]
    assert read_metrics(tmp_path, files) == {"accuracy": 1.0, "recall.a b": 0.5, "loss": 0.25}


@pytest.mark.parametrize("text", [None, "{", "\xff"])
def test_an_unreadable_file_fails_the_job(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "metrics.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(JobFailed, match=r"metrics\.json"):
        read_metrics(tmp_path, [MetricsFile("metrics.json")])


def test_a_declared_metric_that_is_missing_fails_the_job(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"accuracy": 1}')
    with pytest.raises(JobFailed, match="macro_f1") as error:
        read_metrics(tmp_path, [MetricsFile("metrics.json", higher=("accuracy", "macro_f1"))])
    assert "accuracy" in error.value.fix
