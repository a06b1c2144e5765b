"""Readers of the raw image archives: Fashion-MNIST's IDX files and CIFAR-10's binary version."""

from __future__ import annotations

import gzip
import re
import struct
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049  # http://yann.lecun.com/exdb/mnist/
CIFAR_ROW = 1 + 3 * 32 * 32  # https://www.cs.toronto.edu/~kriz/cifar.html
CIFAR_FILES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
FASHION_CLASSES = (
    *("T-shirt_top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle_boot"),
)


class DataError(Exception):
    """A raw file is not what its format says."""


@dataclass(frozen=True)
class Image:
    """One record: pixels row by row, one byte a channel, channels side by side."""

    record_id: str
    label: str
    pixels: bytes
    width: int
    height: int
    channels: int  # 1 grey, 3 RGB


def read(dataset: str, source: Path) -> list[Image]:
    """Return every image of the archive; DataError names the file that is wrong."""
    readers = {"fashion-mnist": read_fashion_mnist, "cifar-10": read_cifar10}
    if dataset not in readers:
        raise DataError(f"prepare.dataset is {dataset!r}; allowed: {', '.join(readers)}")
    return list(readers[dataset](source))


def read_fashion_mnist(folder: Path) -> Iterator[Image]:
    """Yield the images of the four official files, packed or not."""
    for part, name in (("train", "train"), ("t10k", "test")):
        images, images_file = _content(folder, f"{part}-images-idx3-ubyte")
        labels, labels_file = _content(folder, f"{part}-labels-idx1-ubyte")
        count, height, width = _header(images, images_file, IMAGES_MAGIC, 3)
        (labelled,) = _header(labels, labels_file, LABELS_MAGIC, 1)
        _check_size(images, images_file, 16 + count * height * width)
        _check_size(labels, labels_file, 8 + labelled)
        if count != labelled:
            raise DataError(f"{images_file} has {count} images, {labels_file} {labelled} labels")
        size = height * width
        for index in range(count):
            label = _label(labels[8 + index], FASHION_CLASSES, labels_file, index)
            start = 16 + index * size
            pixels = images[start : start + size]
            yield Image(f"{name}-{index:05}", label, pixels, width, height, 1)


def _content(folder: Path, name: str) -> tuple[bytes, Path]:
    plain, packed = folder / name, folder / f"{name}.gz"
    path = packed if packed.exists() else plain
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path == packed else content), path
    except FileNotFoundError as error:
        raise DataError(f"{plain} is missing, and so is {packed.name}") from error
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} can't be unpacked: {error}") from error


def _header(content: bytes, path: Path, magic: int, dimensions: int) -> tuple[int, ...]:
    size = 4 * (1 + dimensions)
    if len(content) < size:
        raise DataError(f"{path} is truncated: {len(content)} bytes, its header has {size}")
    found, *sizes = struct.unpack(f">{1 + dimensions}I", content[:size])
    if found != magic:
        raise DataError(f"{path} has the magic number {found}, not {magic}")
    return tuple(sizes)


def _check_size(content: bytes, path: Path, expected: int) -> None:
    if len(content) < expected:
        raise DataError(f"{path} is truncated: {len(content)} bytes of {expected}")
    if len(content) > expected:
        raise DataError(f"{path} has {len(content) - expected} bytes behind its last record")


def _label(value: int, classes: tuple[str, ...], path: Path, index: int) -> str:
    if value >= len(classes):
        raise DataError(
            f"{path}: record {index} has the label {value}, the last is {len(classes) - 1}"
        )
    return classes[value]


def read_cifar10(source: Path) -> Iterator[Image]:
    """Yield the images of the official binary archive, packed or unpacked."""
    files = _cifar_files(source)
    classes = _cifar_classes(files["batches.meta.txt"], source / "batches.meta.txt")
    for name in CIFAR_FILES:
        content, path = files[name], source / name
        if not content or len(content) % CIFAR_ROW:
            raise DataError(
                f"{path} is truncated or has trailing bytes: {len(content)} bytes, "
                f"a record has {CIFAR_ROW}"
            )
        for index in range(len(content) // CIFAR_ROW):
            row = content[index * CIFAR_ROW : (index + 1) * CIFAR_ROW]
            label = _label(row[0], classes, path, index)
            record_id = f"{name.removesuffix('.bin')}-{index:05}"
            yield Image(record_id, label, _interleaved(row[1:]), 32, 32, 3)


def _cifar_classes(content: bytes, path: Path) -> tuple[str, ...]:
    """Return the class names, which become folder names: none may lead out of the output."""
    classes = tuple(content.decode("ascii", "backslashreplace").split())
    if len(classes) != 10 or len(set(classes)) != 10:
        raise DataError(f"{path} names {len(set(classes))} classes, not 10")
    for name in classes:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise DataError(f"{path} names the class {name!r}; allowed: letters, digits, _ and -")
    return classes


def _interleaved(planes: bytes) -> bytes:
    """Return RGB pixels from a red, a green and a blue plane."""
    pixels = bytearray(len(planes))
    size = len(planes) // 3
    for channel in range(3):
        pixels[channel::3] = planes[channel * size : (channel + 1) * size]
    return bytes(pixels)


def _cifar_files(source: Path) -> dict[str, bytes]:
    wanted = [*CIFAR_FILES, "batches.meta.txt"]
    try:
        if source.is_dir():
            found = {name: (source / name).read_bytes() for name in wanted}
        else:
            with tarfile.open(source) as archive:
                members = {Path(member.name).name: member for member in archive if member.isfile()}
                opened = {name: archive.extractfile(members[name]) for name in wanted}
                found = {name: file.read() for name, file in opened.items() if file is not None}
    except (KeyError, FileNotFoundError) as error:
        raise DataError(f"{source} lacks {error}") from error
    except (EOFError, OSError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{source} can't be unpacked: {error}") from error
    return found
