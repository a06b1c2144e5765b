"""What a local job pulls and pushes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from clew.ports import JobSpec, JobStatus
from tests.unit.local.conftest import Bench, store


def tracked(bench: Bench, content: dict[str, bytes]) -> dict[str, str]:
    """Put a folder into the remote; return the bundle's files that make it DVC-tracked."""
    rows = [{"md5": store(bench.storage, data), "relpath": name} for name, data in content.items()]
    listing = json.dumps(rows).encode()
    md5 = store(bench.storage, listing)
    path = bench.storage / "files/md5" / md5[:2] / md5[2:]
    path.rename(f"{path}.dir")
    return {"raw.dvc": json.dumps({"outs": [{"md5": f"{md5}.dir", "hash": "md5", "path": "raw"}]})}


def test_data_is_pulled_before_the_stages(bench: Bench) -> None:
    files = tracked(bench, {"a": b"alpha\n", "b": b"beta\n"})
    lines: list[str] = []
    spec = bench.spec(cmd="cat raw/a raw/b", stage={"deps": ["raw"]}, files=files, pull=("raw",))
    assert bench.run(spec, lines).status is JobStatus.COMPLETED
    assert "alpha" in lines
    assert "beta" in lines


@pytest.mark.parametrize("bad", [b"evil!\n", b"", None], ids=["other", "empty", "missing"])
def test_a_bad_object_in_the_remote_fails_the_job_before_its_stages(
    bench: Bench, bad: bytes | None
) -> None:
    files = tracked(bench, {"a": b"alpha\n", "b": b"beta\n"})
    md5 = hashlib.md5(b"alpha\n").hexdigest()
    path = bench.storage / "files/md5" / md5[:2] / md5[2:]
    path.unlink() if bad is None else path.write_bytes(bad)
    before = snapshot(bench.storage)
    spec = bench.spec(cmd="echo ran", stage={"deps": ["raw"]}, files=files, pull=("raw",))
    lines: list[str] = []
    job = bench.run(spec, lines)
    assert job.status is JobStatus.FAILED
    assert "raw/a" in job.reason
    assert md5 in job.reason
    assert "the DVC remote 'storage'" in job.reason
    assert "raw/b" not in job.reason
    assert "ran" not in lines
    assert snapshot(bench.storage) == before, "a job that only reads must not change the remote"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


MAKE = "mkdir -p out; for i in 0 1 2 3 4 5 6 7 8 9; do echo $i > out/$i; done; "


def test_a_processing_job_counts_new_and_reused_files(bench: Bench) -> None:
    stage = {"outs": ["out"]}
    first = bench.run(bench.spec(cmd=MAKE, stage=stage, push=("out",), force=False))
    assert (first.pushed, first.reused) == (10, 0), first.reason
    spec = bench.spec("job-2", MAKE + "echo x > out/3", stage=stage, push=("out",), force=False)
    second = bench.run(spec)
    assert (second.pushed, second.reused) == (1, 9)
    third = bench.run(JobSpec(**vars(spec) | {"name": "job-3"}))
    assert (third.pushed, third.reused) == (0, 10)


def test_a_forced_processing_job_brings_its_tracked_inputs(bench: Bench) -> None:
    files = tracked(bench, {"a": b"alpha\n"})
    stage = {"deps": ["raw"], "outs": ["out"]}
    spec = bench.spec(cmd="cp raw/a out", stage=stage, files=files, push=("out",), force=True)
    job = bench.run(spec)
    assert job.status is JobStatus.COMPLETED, job.reason
    assert job.reused == 1, "the same bytes are there as raw/a"


def test_what_a_stage_does_to_its_files_never_reaches_the_remote(bench: Bench) -> None:
    files = tracked(bench, {"a": b"alpha\n"})
    before = snapshot(bench.storage)
    cmd = "chmod u+w raw/a; echo evil >> raw/a"
    bench.run(bench.spec(cmd=cmd, stage={"deps": ["raw"]}, files=files, pull=("raw",)))
    assert snapshot(bench.storage) == before
