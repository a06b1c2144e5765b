"""The raw formats: what is wrong with a file is said with its name."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from readers import CIFAR_FILES, CIFAR_ROW, DataError, read

CIFAR_CLASSES = b"airplane automobile bird cat deer dog frog horse ship truck".split()
NAMES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def idx(folder: Path, count: int = 3, label: int = 9) -> Path:
    """Write four small files in the official format."""
    for name in NAMES:
        if "images" in name:
            content = struct.pack(">IIII", 2051, count, 28, 28) + bytes(range(count)) * 28 * 28
        else:
            content = struct.pack(">II", 2049, count) + bytes([label]) * count
        (folder / f"{name}-ubyte").write_bytes(content)
    return folder


def test_reads_packed_and_plain_files(tmp_path: Path) -> None:
    plain = read("fashion-mnist", idx(tmp_path))
    assert [image.record_id for image in plain[:2]] == ["train-00000", "train-00001"]
    assert {image.label for image in plain} == {"Ankle_boot"}
    assert len(plain) == 6
    for name in NAMES:
        file = tmp_path / f"{name}-ubyte"
        file.with_suffix(".gz").unlink(missing_ok=True)
        (tmp_path / f"{name}-ubyte.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert read("fashion-mnist", tmp_path) == plain


def test_the_subset_is_real_whole_and_balanced() -> None:
    images = read("fashion-mnist", Path("data/raw/fashion-mnist"))
    train = [image.label for image in images if image.record_id.startswith("train-")]
    test = [image.label for image in images if image.record_id.startswith("test-")]
    assert {train.count(label) for label in set(train)} == {600}
    assert {test.count(label) for label in set(test)} == {100}
    assert len(set(train)) == len(set(test)) == 10


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        file = folder / f"{name}-ubyte"
        file.write_bytes(change(file.read_bytes()))

    return apply


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (edit(NAMES[0], lambda b: b"\0\0\0\1" + b[4:]), ["train-images", "magic number 1", "2051"]),
        (edit(NAMES[1], lambda b: b"\0\0\0\1" + b[4:]), ["train-labels", "magic number", "2049"]),
        (edit(NAMES[0], lambda b: b[:-1]), ["train-images", "truncated"]),
        (edit(NAMES[1], lambda b: b[:-1]), ["train-labels", "truncated"]),
        (edit(NAMES[2], lambda b: b[:7]), ["t10k-images", "truncated"]),
        (edit(NAMES[2], lambda b: b + b"x"), ["t10k-images", "behind its last record"]),
        (edit(NAMES[3], lambda b: b[:-1] + b"\x0a"), ["t10k-labels", "label 10", "record 2"]),
        (
            edit(NAMES[1], lambda b: struct.pack(">II", 2049, 2) + b[8:-1]),
            ["3 images", "2 labels"],
        ),
        (lambda folder: (folder / f"{NAMES[0]}-ubyte").unlink(), ["train-images", "missing"]),
        (
            lambda folder: (folder / f"{NAMES[0]}-ubyte.gz").write_bytes(b"\x1f\x8b junk"),
            ["train-images", "unpacked"],
        ),
    ],
)
def test_a_broken_idx_file_is_named(
    tmp_path: Path, sabotage: Callable[[Path], None], words: list[str]
) -> None:
    sabotage(idx(tmp_path))
    with pytest.raises(DataError) as error:
        read("fashion-mnist", tmp_path)
    for word in words:
        assert word in str(error.value)


def cifar(folder: Path, changed: dict[str, bytes] | None = None) -> Path:
    """Write a small archive in CIFAR-10's official binary format."""
    rows = b"".join(bytes([label]) + bytes([label, 100, 200]) * 1024 for label in (0, 9))
    files = dict.fromkeys(CIFAR_FILES, rows) | {"batches.meta.txt": b"\n".join(CIFAR_CLASSES)}
    files |= changed or {}
    path = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_reads_the_cifar_archive_and_its_folder(tmp_path: Path) -> None:
    path = cifar(tmp_path)
    images = read("cifar-10", path)
    assert len(images) == 12
    assert images[1].label == "truck"
    assert images[1].channels == 3
    assert images[0].record_id == "data_batch_1-00000"
    row = bytes([0, 100, 200]) * 1024
    pixels = zip(row[:1024], row[1024:2048], row[2048:], strict=True)
    assert images[0].pixels == bytes(value for pixel in pixels for value in pixel)
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    assert read("cifar-10", tmp_path / "cifar-10-batches-bin") == images


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"data_batch_2.bin": b"x" * (CIFAR_ROW - 1)}, ["data_batch_2.bin", "truncated"]),
        ({"data_batch_2.bin": b"\0" * (CIFAR_ROW + 1)}, ["data_batch_2.bin", "trailing"]),
        ({"test_batch.bin": b""}, ["test_batch.bin", "truncated"]),
        ({"test_batch.bin": b"\x0a" * CIFAR_ROW}, ["test_batch.bin", "label 10"]),
        ({"batches.meta.txt": b"one two"}, ["batches.meta.txt", "2 classes"]),
        ({"batches.meta.txt": b"cat\n" * 10}, ["batches.meta.txt", "1 classes"]),
        (
            {"batches.meta.txt": b"\n".join([b"../../../out", *CIFAR_CLASSES[1:]])},
            ["batches.meta.txt", "'../../../out'"],
        ),
        ({"batches.meta.txt": b"\n".join([b"\xff", *CIFAR_CLASSES[1:]])}, ["batches.meta.txt"]),
    ],
)
def test_a_broken_cifar_file_is_named(
    tmp_path: Path, changed: dict[str, bytes], words: list[str]
) -> None:
    path = cifar(tmp_path, changed)
    with pytest.raises(DataError) as error:
        read("cifar-10", path)
    for word in words:
        assert word in str(error.value)


def test_an_unknown_dataset_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fashion-mnist, cifar-10"):
        read("mnist", tmp_path)
