"""Metrics files as one flat table of numbers, named as MLflow shows them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from clew.config.model import MetricsFile
from clew.dvcyaml import load
from clew.errors import ConfigError, JobFailed


def read_metrics(folder: Path, files: Iterable[MetricsFile]) -> dict[str, float]:
    """Return all metrics of the files, nested names joined by dots; JobFailed on a bad file."""
    metrics: dict[str, float] = {}
    for file in files:
        own = dict(_flatten(_document(folder / file.path)))
        missing = [name for name in file.names if name not in own]
        if missing:
            raise JobFailed(
                f"{file.path} holds no number named {', '.join(missing)}, "
                "which pipeline.yaml declares",
                fix=f"Its numbers are: {', '.join(sorted(own)) or 'none'}.",
            )
        twice = sorted(own.keys() & metrics.keys())
        if twice:
            raise JobFailed(
                f"{file.path} holds {twice[0]}, which another metrics file holds too",
                fix="Let each metric be in one file of train.metrics.",
            )
        metrics |= own
    return metrics


def _document(path: Path) -> Any:
    try:
        text = path.read_text()
        if path.suffix == ".json":
            return json.loads(text)
        return load(text.encode(), path.name)
    except (OSError, ValueError, ConfigError) as error:
        raise JobFailed(
            f"the train stages left no readable metrics file {path.name}: {error}",
            fix="Name the files that they write in train.metrics of pipeline.yaml.",
        ) from error


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _flatten(child, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):  # no metric has hundreds of digits
            yield prefix, float(value)
