"""Draw the class-balanced subset beside this file from the full Fashion-MNIST files.

Run: python draw_subset.py FOLDER, where FOLDER holds the four official `*-ubyte.gz` files. Takes
the first 600 training and 100 test images of each class in the official order.
"""

from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path

PIXELS = 28 * 28
HERE = Path(__file__).resolve().parent
WANTED = {"train": 600, "t10k": 100}  # images of each class


def main(folder: Path) -> None:
    for part, per_class in WANTED.items():
        images = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:]
        labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:]
        left = dict.fromkeys(range(10), per_class)
        chosen: list[int] = []
        for index, label in enumerate(labels):
            if left[label]:
                left[label] -= 1
                chosen.append(index)
        pixels = b"".join(images[index * PIXELS : (index + 1) * PIXELS] for index in chosen)
        header = struct.pack(">IIII", 2051, len(chosen), 28, 28)
        write(f"{part}-images-idx3-ubyte.gz", header + pixels)
        header = struct.pack(">II", 2049, len(chosen))
        write(f"{part}-labels-idx1-ubyte.gz", header + bytes(labels[index] for index in chosen))


def write(name: str, content: bytes) -> None:
    (HERE / name).write_bytes(gzip.compress(content, compresslevel=9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
