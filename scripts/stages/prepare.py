"""prepare: from the raw archive to one image per record and a manifest.

Who is in which split and sample is decided by hashes of ids alone. A larger fraction only adds
files, and a subject who leaves changes nobody else's split, sample or bytes.

Run with `--write-consent` it only writes a first registry, in which every subject is active.
"""

from __future__ import annotations

import csv
import hashlib
import math
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import png
import yaml
from consent import COLUMNS, read_consent
from readers import DataError, Image, read

OUTPUT = Path("data/prepared")
CONSENT = Path("data/consent.csv")
HEADER = ["subject_id", "record_id", "file_path", "split", "label", "sha256"]
SUBJECTS = 2_000  # synthetic: the archives don't say whose clothes these are


class Params(NamedTuple):
    dataset: str
    source: Path
    fraction: float
    test_share: float
    key: str


@dataclass(frozen=True)
class Record:
    image: Image
    subject: str
    split: str

    @property
    def path(self) -> str:
        return f"{self.split}/{self.image.label}/{self.image.record_id}.png"


def main(arguments: list[str]) -> None:
    params = read_params(Path("params.yaml"))
    images = read(params.dataset, params.source)
    records = [assign(image, params.key, params.test_share) for image in images]
    if arguments == ["--write-consent"]:
        write_consent({record.subject for record in records})
        return
    if arguments:
        raise DataError(f"found the arguments {arguments}; allowed: --write-consent")
    chosen = sample(records, params.fraction, params.key)
    statuses = read_consent(CONSENT)
    kept = [record for record in chosen if statuses.get(record.subject) == "active"]
    unknown = sum(record.subject not in statuses for record in chosen)
    write(kept, OUTPUT)
    revoked = len(chosen) - len(kept) - unknown
    print(f"{len(kept)} records kept; {revoked} without consent, {unknown} unknown to the registry")


def read_params(path: Path) -> Params:
    """Return params.yaml's `prepare`; DataError names the value that is wrong."""
    found = yaml.safe_load(path.read_text())["prepare"]
    lacking = [name for name in Params._fields if name not in found]
    if lacking:
        raise DataError(f"{path}: prepare lacks {', '.join(lacking)}")
    key = str(found["key"])
    if len(key.encode()) > hashlib.blake2b.MAX_KEY_SIZE:
        raise DataError(f"prepare.key is longer than {hashlib.blake2b.MAX_KEY_SIZE} bytes")
    fraction, test_share = _number(found, "fraction"), _number(found, "test_share")
    if not 0 < fraction <= 1:
        raise DataError(f"prepare.fraction is {fraction}; allowed: above 0, up to 1")
    if not 0 < test_share < 1:
        raise DataError(f"prepare.test_share is {test_share}; allowed: above 0, below 1")
    return Params(found["dataset"], Path(found["source"]), fraction, test_share, key)


def _number(found: dict[str, Any], name: str) -> float:
    try:
        return float(found[name])  # PyYAML reads 5e-2 as text, DVC as a number
    except (TypeError, ValueError) as error:
        raise DataError(f"prepare.{name} is {found[name]!r}, which is no number") from error


def assign(image: Image, key: str, test_share: float) -> Record:
    """Return the record with its subject and the split that the subject alone decides."""
    bucket = int(hashlib.sha256(image.pixels).hexdigest(), 16) % SUBJECTS
    subject = f"subject-{bucket:04}"
    split = "test" if _share(key, "split", subject) < test_share else "train"
    return Record(image, subject, split)


def sample(records: Iterable[Record], fraction: float, key: str) -> list[Record]:
    """Return the test split whole and this fraction of each class of the train split.

    Taken before anybody is dropped for lack of consent: who leaves is not replaced.
    """
    classes: dict[str, list[Record]] = defaultdict(list)
    chosen: list[Record] = []
    for record in records:
        if record.split == "test":
            chosen.append(record)
        else:
            classes[record.image.label].append(record)
    for members in classes.values():
        members.sort(key=lambda record: _share(key, "sample", record.image.record_id))
        chosen += members[: math.ceil(fraction * len(members))]
    return chosen


def _share(key: str, purpose: str, identity: str) -> float:
    """Return a number in [0, 1) that depends on the id alone."""
    value = hashlib.blake2b(f"{purpose}:{identity}".encode(), key=key.encode(), digest_size=8)
    return int.from_bytes(value.digest(), "big") / 2**64


def write(records: list[Record], folder: Path) -> None:
    """Write the images, then the manifest: a folder without one is not whole."""
    if folder.exists():
        shutil.rmtree(folder)  # who has revoked must not stay behind from an earlier run
    rows: list[list[str]] = []
    for record in sorted(records, key=lambda record: record.path):
        image = record.image
        content = png.encode(image.pixels, image.width, image.height, image.channels)
        target = folder / record.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        row = [record.subject, image.record_id, record.path, record.split, image.label, digest]
        rows.append(row)
    write_csv(folder / "manifest.csv", HEADER, rows)


def write_consent(subjects: set[str]) -> None:
    if CONSENT.exists():
        raise DataError(f"{CONSENT} exists: writing it anew would forget who has revoked")
    rows = [[subject, "active", "2026-01-15T00:00:00Z", ""] for subject in sorted(subjects)]
    write_csv(CONSENT, COLUMNS, rows)


def write_csv(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except DataError as error:
        sys.exit(f"prepare: {error}")
