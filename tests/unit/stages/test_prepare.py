"""Sampling and splitting: by ids alone, so that data grows and shrinks without reshuffling."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import png
import pytest
import yaml
from consent import read_consent
from hypothesis import given
from hypothesis import strategies as st
from prepare import Record, assign, read_params, sample
from readers import DataError, Image, read

HERE = Path.cwd()
KEY = "test-key"
RECORDS = [
    assign(image, KEY, 0.2) for image in read("fashion-mnist", Path("data/raw/fashion-mnist"))
]


def ids(records: list[Record]) -> set[str]:
    return {record.image.record_id for record in records}


@given(st.floats(0.001, 1), st.floats(0.001, 1))
def test_a_smaller_fraction_is_inside_a_larger_one(one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert ids(sample(RECORDS, small, KEY)) <= ids(sample(RECORDS, large, KEY))


def test_each_class_has_its_share() -> None:
    chosen = [r for r in sample(RECORDS, 0.1, KEY) if r.split == "train"]
    for label in {record.image.label for record in RECORDS}:
        everyone = [r for r in RECORDS if r.split == "train" and r.image.label == label]
        mine = [record for record in chosen if record.image.label == label]
        assert 0 <= len(mine) - 0.1 * len(everyone) < 1


def test_the_test_split_is_whole_whatever_the_fraction() -> None:
    everyone = {r.image.record_id for r in RECORDS if r.split == "test"}
    assert everyone <= ids(sample(RECORDS, 0.01, KEY))
    assert 1_000 < len(everyone) < 1_600


def test_nobody_is_in_two_splits() -> None:
    splits: dict[str, set[str]] = {}
    for record in RECORDS:
        splits.setdefault(record.subject, set()).add(record.split)
    assert {len(found) for found in splits.values()} == {1}


def test_order_does_not_matter() -> None:
    assert ids(sample(RECORDS[::-1], 0.1, KEY)) == ids(sample(RECORDS, 0.1, KEY))


def params(folder: Path, **changed: Any) -> Path:
    """Write a params.yaml like the example's; None leaves a value out."""
    document = yaml.safe_load((HERE / "params.yaml").read_text())
    given = document["prepare"] | changed
    document["prepare"] = {name: value for name, value in given.items() if value is not None}
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fraction": 0}, r"prepare\.fraction is 0"),
        ({"fraction": -1}, r"prepare\.fraction is -1"),
        ({"fraction": 1.01}, r"prepare\.fraction is 1\.01"),
        ({"fraction": float("nan")}, r"prepare\.fraction is nan"),
        ({"fraction": "half"}, r"prepare\.fraction is 'half', which is no number"),
        ({"test_share": 1}, r"prepare\.test_share is 1"),
        ({"test_share": None, "key": None}, r"prepare lacks test_share, key"),
        ({"key": "k" * 65}, r"prepare\.key is longer than 64 bytes"),
    ],
)
def test_a_param_that_makes_no_sense_is_named(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_params(params(tmp_path, **changed))


def test_params_mean_what_dvc_reads(tmp_path: Path) -> None:
    found = read_params(params(tmp_path, fraction="5e-2", key=2026))
    assert (found.fraction, found.key) == (0.05, "2026")


@given(st.binary(min_size=12, max_size=12), st.sampled_from([1, 3]))
def test_png_holds_the_pixels(pixels: bytes, channels: int) -> None:
    content = png.encode(pixels, 12 // channels // 2, 2, channels)
    assert png.decode(content) == pixels


def test_png_of_several_blocks_is_read_by_others(tmp_path: Path) -> None:
    from PIL import Image as Pillow

    pixels = bytes(range(256)) * 400
    (tmp_path / "x.png").write_bytes(png.encode(pixels, 320, 320, 1))
    with Pillow.open(tmp_path / "x.png") as image:
        assert image.tobytes() == pixels
    assert png.decode((tmp_path / "x.png").read_bytes()) == pixels


def workspace(folder: Path, fraction: float = 0.05) -> Path:
    """Return a folder in which the stage can run as DVC runs it."""
    shutil.copytree(HERE / "data/raw", folder / "data/raw")
    shutil.copy(HERE / "data/consent.csv", folder / "data")
    params(folder, fraction=fraction)
    return folder


def run(folder: Path, *arguments: str, seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, HERE / "scripts/stages/prepare.py", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
    )


def files(folder: Path) -> dict[str, str]:
    out = folder / "data/prepared"
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*")
        if path.is_file()
    }


def test_the_same_input_gives_the_same_bytes_and_more_data_only_adds(tmp_path: Path) -> None:
    one, two, more = (
        workspace(tmp_path / name, f) for name, f in (("a", 0.05), ("b", 0.05), ("c", 0.1))
    )
    for folder, seed in ((one, "1"), (two, "2"), (more, "3")):
        done = run(folder, seed=seed)
        assert done.returncode == 0, done.stderr
    assert files(one) == files(two)
    images = {name: digest for name, digest in files(one).items() if name.endswith(".png")}
    assert images.items() <= files(more).items()
    rows = list(csv.DictReader((one / "data/prepared/manifest.csv").open()))
    assert {row["file_path"]: row["sha256"] for row in rows} == images


@pytest.mark.parametrize("split", ["train", "test"])
def test_who_revokes_is_gone_and_nobody_else_changes(tmp_path: Path, split: str) -> None:
    folder = workspace(tmp_path / "a")
    assert run(folder).returncode == 0
    before = files(folder)
    rows = list(csv.DictReader((folder / "data/prepared/manifest.csv").open()))
    leaves = next(row["subject_id"] for row in rows if row["split"] == split)
    registry = folder / "data/consent.csv"
    registry.write_text(registry.read_text().replace(f"{leaves},active", f"{leaves},revoked"))
    done = run(folder)
    assert " 0 without consent" not in done.stdout
    gone = {row["file_path"] for row in rows if row["subject_id"] == leaves} | {"manifest.csv"}
    kept = {name: digest for name, digest in before.items() if name not in gone}
    assert {k: v for k, v in files(folder).items() if k != "manifest.csv"} == kept
    left = list(csv.DictReader((folder / "data/prepared/manifest.csv").open()))
    assert left == [row for row in rows if row["subject_id"] != leaves]


def test_the_registry_is_written_once_and_never_over_a_revocation(tmp_path: Path) -> None:
    folder = workspace(tmp_path / "a")
    registry = folder / "data/consent.csv"
    registry.unlink()
    assert run(folder, "--write-consent").returncode == 0
    assert registry.read_bytes() == (HERE / "data/consent.csv").read_bytes()
    again = run(folder, "--write-consent")
    assert (again.returncode, "forget who has revoked" in again.stderr) == (1, True)
    assert run(folder, "--write-consnt").returncode == 1


def test_who_is_not_in_the_registry_is_left_out_and_counted(tmp_path: Path) -> None:
    folder = workspace(tmp_path / "a")
    registry = folder / "data/consent.csv"
    lines = registry.read_text().splitlines(keepends=True)
    registry.write_text("".join(lines[:1] + lines[200:]))
    done = run(folder)
    assert done.returncode == 0
    assert " 0 unknown" not in done.stdout


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            "s1,active,2026-01-01T00:00:00Z,\ns2,maybe,2026-01-01T00:00:00Z,\n",
            [":3:", "unknown status"],
        ),
        ("s1,active,2026-01-01,\ns1,revoked,2026-01-02,\n", [":3:", "another status"]),
        ("s1,active\n", [":2:", "2 fields"]),
        (",active,2026-01-01,\n", [":2:"]),
        ('s1,"active,2026-01-01,\n', [":2:"]),
        ("s1,active,yesterday,\n", [":2:", "updated_at"]),
        ("s1,active,2026-01-01,\n\xe9,active,2026-01-01,\n", [":3:", "not UTF-8"]),
    ],
)
def test_a_broken_registry_is_refused_with_the_line(
    tmp_path: Path, rows: str, words: list[str]
) -> None:
    path = tmp_path / "consent.csv"
    path.write_text("subject_id,status,updated_at,reason\n" + rows, encoding="latin-1")
    with pytest.raises(DataError) as error:
        read_consent(path)
    for word in words:
        assert word in str(error.value)
    assert "s1" not in str(error.value).removeprefix(str(path))


def test_a_subject_that_looks_odd_is_a_subject(tmp_path: Path) -> None:
    path = tmp_path / "consent.csv"
    path.write_text('subject_id,status,updated_at\n"a,""b\nc",active,2026-01-01\n')
    assert read_consent(path) == {'a,"b\nc': "active"}


def test_a_registry_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"consent\.csv can't be read"):
        read_consent(tmp_path / "consent.csv")


def test_a_data_error_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    folder = workspace(tmp_path / "a")
    (folder / "data/raw/fashion-mnist/t10k-labels-idx1-ubyte.gz").write_bytes(b"junk")
    done = run(folder)
    assert done.returncode == 1
    assert done.stderr.startswith("prepare: ")
    assert "t10k-labels" in done.stderr
    assert "Traceback" not in done.stderr


def test_images_of_one_subject_stay_together() -> None:
    image = Image("a", "Bag", b"\1" * 784, 28, 28, 1)
    twin = Image("b", "Coat", b"\1" * 784, 28, 28, 1)
    assert assign(image, KEY, 0.5).subject == assign(twin, KEY, 0.5).subject
    assert assign(image, KEY, 0.5).split == assign(twin, KEY, 0.5).split
