"""The figures, by hand; the bytes of a picture, by the standard."""

from __future__ import annotations

import csv
import struct
import zlib
from pathlib import Path

import numpy
import pytest

LABELS = numpy.array(["a"] * 6 + ["b"] * 2 + ["c"] * 2)
GUESSES = numpy.array(["a"] * 5 + ["b"] + ["b", "a"] + ["c", "c"])


def test_the_metrics_are_those_of_the_textbook() -> None:
    from evaluate import measure  # here: MLflow and scikit-learn take seconds to import

    found = measure(LABELS, GUESSES, numpy.array(["b", "a", "a"]))
    f1 = {"a": 2 * 5 / (6 + 6), "b": 2 * 1 / (2 + 2), "c": 1.0}  # 2·hits / (actual + guessed)
    assert found["accuracy"] == pytest.approx(8 / 10)
    assert found["macro_f1"] == pytest.approx(sum(f1.values()) / 3)
    assert found["recall"] == {"a": pytest.approx(5 / 6), "b": 0.5, "c": 1.0}
    assert found["majority_accuracy"] == pytest.approx(0.6)
    assert found["n"] == 10


def test_the_confusion_file_names_its_columns(tmp_path: Path) -> None:
    from evaluate import write_confusion

    write_confusion(tmp_path / "plots/c.csv", LABELS, GUESSES)
    rows = list(csv.DictReader((tmp_path / "plots/c.csv").open()))
    assert [row["actual"] for row in rows] == list(LABELS)
    assert [row["predicted"] for row in rows] == list(GUESSES)


def test_the_model_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    from train import build

    assert build({"C": 1.0, "gamma": "scale", "seed": 7})[-1].random_state == 7


def test_a_picture_is_stored_and_not_compressed() -> None:
    from png import encode

    content = encode(bytes(range(6)), 3, 2, 1)
    start = content.index(b"IDAT")
    (size,) = struct.unpack(">I", content[start - 4 : start])
    stream = content[start + 4 : start + 4 + size]
    lines = b"\0\0\1\2\0\3\4\5"
    stored = b"\1" + struct.pack("<HH", len(lines), len(lines) ^ 0xFFFF) + lines
    assert stream == b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(lines))
