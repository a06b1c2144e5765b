"""The prepared images of one split as arrays."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import png
from numpy.typing import NDArray

Pixels = NDArray[np.float64]
Labels = NDArray[np.str_]


def folder() -> Path:
    """Return where the data is: SageMaker's channel `prepared`, else DVC's output."""
    return Path(os.environ.get("SM_CHANNEL_PREPARED", "data/prepared"))


def load(split: str) -> tuple[Pixels, Labels]:
    """Return the pixels as rows in [0, 1], shape (n, pixels), and the n labels."""
    with (folder() / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    images = [png.decode((folder() / row["file_path"]).read_bytes()) for row in rows]
    pixels = np.frombuffer(b"".join(images), dtype=np.uint8).reshape(len(rows), -1)
    return pixels / 255.0, np.array([row["label"] for row in rows])
