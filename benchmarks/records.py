"""The record index beside a naive scan of the manifests, on the same data in the same run.

`python -m benchmarks.records`: 1,000 data versions of 100,000 records, 1% of which leave and come
with each; every manifest is really parsed. `--large`: 10,000 of 1,000,000, 10¹⁰ memberships in all;
so many rows can't be written as files, so what differs is given to the index directly, and the
scan is extrapolated from manifests of that size. `--versions` and `--records` give other sizes.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from clew.adapters.record_index import SqliteIndex
from clew.adapters.record_index_build import IndexBuilder
from clew.adapters.vault import SqliteVault
from clew.config.model import Records
from clew.identity import CommitSha
from clew.records.difference import difference
from clew.records.index import IndexedModel, IndexedVersion, Joining, ranges
from clew.records.manifest import Manifest
from clew.records.tokens import Token, VaultTokens

CHURN = 0.01
RECORDS_PER_SUBJECT = 4
MODEL_EVERY = 10  # data versions
LOOKUPS = 500
UPDATED = 20  # data versions that come one after the other
SCANNED = 3  # manifests of the large size
NAMES = Records("data/manifest.csv")
HEAD = b"subject_id,record_id,split\n"
NOW = datetime.now(UTC)


class History:
    """Records that leave and come; each is a line of the manifest."""

    def __init__(self, size: int) -> None:
        self.random = random.Random(7)
        self.subjects = size // RECORDS_PER_SUBJECT
        self.made = 0
        self.lines = [self._new() for _ in range(size)]
        self.churn = int(size * CHURN)

    def _new(self) -> bytes:
        self.made += 1
        subject = self.random.randrange(self.subjects)
        split = b"test" if subject % 5 == 0 else b"train"
        return b"subject-%07d,r%09d,%s" % (subject, self.made, split)

    def step(self) -> tuple[list[bytes], list[bytes]]:
        """Return the lines that left and that came."""
        left, came = [], []
        for place in self.random.sample(range(len(self.lines)), self.churn):
            left.append(self.lines[place])
            self.lines[place] = self._new()
            came.append(self.lines[place])
        return left, came

    def manifest(self) -> Manifest:
        content = HEAD + b"\n".join(self.lines) + b"\n"
        return Manifest(NAMES.manifest, "", content, NAMES)


class Bench:
    """An index in a folder, fed by a history."""

    def __init__(self, folder: Path, versions: int, size: int, *, parsing: bool) -> None:
        self.folder, self.versions, self.size, self.parsing = folder, versions, size, parsing
        self.before: Manifest | None = None
        self.building = 0.0  # seconds in the index
        self.index: SqliteIndex
        self.tokens = VaultTokens(b"k" * 32, SqliteVault(folder / "vault.db"))
        self.cache: dict[str, Token] = {}
        self.history = History(size)
        self.took: list[float] = []  # seconds of each data version in the index
        self.read: list[float] = []  # and of telling what differs
        self.scan: list[float] = []

    def build(self) -> None:
        """Build all but the last versions at once, and take in those one after the other."""
        builder = IndexBuilder(self.folder / "records.db")
        builder.begin(self.tokens.id)
        builder.need(self.tokens.generation())
        self.index = builder
        for number in range(1, self.versions - UPDATED + 1):
            self._next(number)
        started = time.perf_counter()
        builder.finish()
        self.building = sum(self.took) + time.perf_counter() - started
        self.index = SqliteIndex(builder.path)
        self.took.clear()
        for number in range(self.versions - UPDATED + 1, self.versions + 1):
            self._next(number)
        started = time.perf_counter()
        self.index.tidy()
        print(f"  segments merged in {time.perf_counter() - started:.1f} s", flush=True)

    def _next(self, number: int) -> None:
        left, came = self.history.step() if number > 1 else ([], list(self.history.lines))
        if self.parsing:
            self._parsed(number)
        else:
            self._given(number, left, came)
        if number % MODEL_EVERY == 0:
            uri = f"models:/bench/{number // MODEL_EVERY}"
            self.index.add_model(
                IndexedModel(sha("m", number), NOW.isoformat(), number, uri, "run")
            )
        if number % max(1, self.versions // 10) == 0:
            print(f"  {number:,} of {self.versions:,} data versions", flush=True)

    def _parsed(self, number: int) -> None:
        now = self.history.manifest()
        started = time.perf_counter()
        change = difference(self.before, now)
        self.read.append(time.perf_counter() - started)
        joining = [Joining(r, self._token(s), split) for r, s, split in change.came]
        self._add(number, [one.record for one in change.left], joining)
        self.scan.append(scanned(now.content, "subject-0000001"))
        self.before = now

    def _given(self, number: int, left: list[bytes], came: list[bytes]) -> None:
        rows = [line.decode().split(",") for line in came]
        joining = [Joining(r, self._token(s), split) for s, r, split in rows]
        self._add(number, [line.decode().split(",")[1] for line in left], joining)

    def _add(self, number: int, leaving: list[str], joining: list[Joining]) -> None:
        facts = {"data_version": f"data/bench/{number}"}
        version = IndexedVersion(number, sha("d", number), NOW, facts)
        started = time.perf_counter()
        self.index.add_version(version, leaving, joining)
        self.took.append(time.perf_counter() - started)

    def _token(self, subject: str) -> Token:
        if subject not in self.cache:
            self.cache.update(self.tokens.of([subject]))
        return self.cache[subject]

    def tell(self) -> None:
        """Give all subjects their salts first, as they would come in the first version."""
        names = [f"subject-{n:07d}" for n in range(self.history.subjects)]
        self.cache.update(self.tokens.of(names))

    def lookups(self) -> list[float]:
        """Return the seconds of each question for the models of one subject."""
        index = SqliteIndex(self.index.path)
        tokens = self.history.random.choices(sorted(self.cache.values()), k=LOOKUPS)
        seconds = []
        for token in tokens:
            started = time.perf_counter()
            index.models(ranges(index.find(token)))
            seconds.append(time.perf_counter() - started)
        return seconds

    def compared(self) -> float:
        """Return the seconds of telling what differs from the last manifest to a next one."""
        before = self.history.manifest()
        self.history.step()
        now = self.history.manifest()
        started = time.perf_counter()
        difference(before, now)
        return time.perf_counter() - started

    def fresh_process(self) -> float:
        """Return the seconds of the same question in a process of its own."""
        token = next(iter(self.cache.values()))
        code = (
            "import sys; from pathlib import Path\n"
            "from clew.adapters.record_index import SqliteIndex\n"
            "from clew.records.index import ranges\n"
            "index = SqliteIndex(Path(sys.argv[1]))\n"
            "index.models(ranges(index.find(sys.argv[2])))"
        )
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, self.index.path, token], check=True)
        return time.perf_counter() - started


def sha(kind: str, number: int) -> CommitSha:
    return CommitSha(f"{kind}{number:039d}")


def scanned(content: bytes, subject: str) -> float:
    """Return the seconds in which a naive scan of one manifest looks for a subject."""
    started = time.perf_counter()
    rows: Iterator[dict[str, str]] = csv.DictReader(io.StringIO(content.decode()))
    sum(row["subject_id"] == subject for row in rows)
    return time.perf_counter() - started


def show(label: str, value: str) -> None:
    print(f"{label:<58} {value}")


def report(bench: Bench, seconds: float) -> None:
    files = [path for path in bench.folder.iterdir() if path.name.startswith("records.db")]
    size = sum(path.stat().st_size for path in files) / 1e9
    intervals = bench.size + (bench.versions - 1) * bench.history.churn
    show("memberships; intervals", f"{bench.versions * bench.size:.1e}; {intervals:.2e}")
    show(
        "index on disk; vault",
        f"{size:.2f} GB; {bench.folder.joinpath('vault.db').stat().st_size / 1e6:.0f} MB",
    )
    show("built in", f"{bench.building:.0f} s; {seconds:.0f} s with making the history")
    took = sorted(bench.took)
    show(
        "one data version: median, 99th of 100, longest",
        f"{statistics.median(took):.3f}, {took[int(len(took) * 0.99)]:.3f}, {took[-1]:.3f} s",
    )
    if bench.read:
        show(
            "telling what differs between two manifests, median",
            f"{statistics.median(bench.read):.3f} s",
        )
        both = map(sum, zip(bench.read[-UPDATED:], bench.took, strict=True))
        show("both, as `clew index update` does, median", f"{statistics.median(both):.3f} s")
    found = sorted(bench.lookups())
    median = statistics.median(found)
    show(
        "models of a subject, in the index: median, 99th of 100",
        f"{median * 1e3:.3f}, {found[int(len(found) * 0.99)] * 1e3:.3f} ms",
    )
    show("the same in a process of its own", f"{bench.fresh_process() * 1e3:.0f} ms")
    whole = statistics.mean(bench.scan) * bench.versions
    how = "extrapolated" if len(bench.scan) < bench.versions else "measured"
    show(f"naive scan of all manifests ({how}, {len(bench.scan):,} read)", f"{whole:,.0f} s")
    show("times faster than the scan", f"{whole / median:,.0f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    show("peak memory, this history's own lines included", f"{peak:,.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--versions", type=int)
    parser.add_argument("--records", type=int)
    asked = parser.parse_args()
    versions = asked.versions or (10_000 if asked.large else 1_000)
    size = asked.records or (1_000_000 if asked.large else 100_000)
    folder = Path(tempfile.mkdtemp(prefix="records-"))
    try:
        bench = Bench(folder, versions, size, parsing=not asked.large)
        bench.tell()
        started = time.perf_counter()
        bench.build()
        seconds = time.perf_counter() - started
        if asked.large:
            content = bench.history.manifest().content
            bench.scan = [scanned(content, "subject-0000001") for _ in range(SCANNED)]
        bench.index.close()
        report(bench, seconds)
        if asked.large:  # after the peak of memory was told, which is the index's
            show("telling what differs between two manifests", f"{bench.compared():.3f} s")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
