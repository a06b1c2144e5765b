"""A report on many changed records: time and memory, beside reading the two manifests alone.

`python benchmarks/report.py`
"""

from __future__ import annotations

import csv
import io
import resource
import time

from clew.config.model import Records
from clew.evaluate import Evaluation
from clew.identity import CommitSha
from clew.report.data_diff import DataDiff, DataState, data_diff, parse_manifest
from clew.report.facts import Report, Side
from clew.report.html import html
from clew.report.markdown import markdown

RECORDS = 120_000
CHANGED = 100_000
CLASSES = 100
MANIFEST = Records("data/manifest.csv")


def manifest() -> bytes:
    rows = ["subject_id,record_id,file_path,split,label,sha256"]
    rows += [
        f"s{n // 3},r{n},train/c{n % CLASSES}/r{n}.png,train,c{n % CLASSES},{n:064x}"
        for n in range(RECORDS)
    ]
    return "\n".join(rows).encode()


def files(version: int) -> dict[str, str]:
    """The first records have other bytes in each version."""
    return {
        f"data/train/c{n % CLASSES}/r{n}.png": f"{n + version * RECORDS * (n < CHANGED):032x}"
        for n in range(RECORDS)
    }


def state(version: int) -> DataState:
    held = files(version)
    columns, records = parse_manifest(manifest(), MANIFEST, held)
    return DataState(held, records, columns, 1, "record")


def sizes(md5s: set[str]) -> dict[str, int]:
    return dict.fromkeys(md5s, 900)


def report(diff: DataDiff) -> tuple[str, str]:
    base, head = (Side(CommitSha(letter * 40), None) for letter in "ab")
    found = Report("bench", base, head, evaluation=Evaluation((), None), data=diff, parts=("data",))
    return markdown(found), html(found)


def naive() -> int:
    return sum(1 for _ in csv.DictReader(io.StringIO(manifest().decode())))


def timed(label: str, started: float) -> None:
    print(f"{label:<44} {time.perf_counter() - started:6.2f} s")


def main() -> None:
    started = time.perf_counter()
    naive()
    naive()
    timed(f"read two manifests of {RECORDS:,} records", started)
    base, head = state(0), state(1)
    started = time.perf_counter()
    report(data_diff(base, head, sizes))
    timed(f"compare and write, {CHANGED:,} records changed", started)
    started = time.perf_counter()
    text, page = report(data_diff(state(0), state(1), sizes))
    timed("the same with reading", started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(text):,} characters, as HTML {len(page):,}; peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
