"""Several processes of one training in one container, as on an instance with several GPUs."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path

from clew.adapters.job_code import code_archive
from tests.system.small import Small

TORCHRUN = Path(__file__).parents[2] / "stand/image_files/torchrun"
TRAIN = """\
import json, os, pathlib, sys
rank = os.environ["RANK"]
files = sorted(pathlib.Path("data/prepared").glob("*.txt"))
print(f"rank {rank} sees {len(files)} files", flush=True)
if rank == "0":
    model = pathlib.Path("model"); model.mkdir()
    (model / "weights.json").write_text(json.dumps({"n": len(files), "lr": 0.5}))
if os.environ["RANK"] in os.environ.get("FAIL", ""):
    sys.exit(f"rank {rank} failed")
"""


def start(ran: Small, base: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Start a job of the small pipeline's train stages as torchrun would with three GPUs."""
    (ran.work / "stages/train.py").write_text(TRAIN)
    ran.commit("Together")
    bundle = base / "bundle.tar"
    code = base / "code"
    code.mkdir(parents=True)
    ran.git("archive", "-o", str(bundle), "HEAD")
    spec = {
        "bundle": "bundle.tar",
        "bundle_sha256": hashlib.sha256(bundle.read_bytes()).hexdigest(),
        "workdir": ".",
        "stages": ["train", "evaluate"],
        "remote": {"name": "storage", "url": str(ran.storage), "options": {}},
        "pull": ["data/prepared"],
        "push": [],
        "force": True,
        "params": {},
        "channels": {"prepared": "data/prepared"},
        "model": "model",
        "collect": ["metrics.json"],
    }
    (base / "input/data/clew").mkdir(parents=True)
    (base / "input/data/clew/job.json").write_text(json.dumps(spec))
    (base / "code.tar.gz").write_bytes(code_archive(bundle, "")[0])
    with tarfile.open(base / "code.tar.gz") as archive:
        archive.extractall(code, filter="data")
    return subprocess.run(
        [sys.executable, str(TORCHRUN), "--nproc_per_node", "3", "clew_job.py"],
        cwd=code,
        env={**ran.environment, "SAGEMAKER_BASE_DIR": str(base), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


def test_processes_of_one_host_pull_once_and_give_one_result(ran: Small, tmp_path: Path) -> None:
    base = tmp_path / "ml"
    done = start(ran, base)
    assert done.returncode == 0, done.stdout
    for rank in range(3):
        assert f"rank {rank} sees 5 files" in done.stdout
    assert done.stdout.count("'evaluate' is left to the first process") == 2
    assert json.loads((base / "output/data/metrics.json").read_text())["n"] == 5
    assert [path.name for path in (base / "model").iterdir()] == ["weights.json"]


def test_a_process_that_fails_fails_the_job_with_its_own_words(ran: Small, tmp_path: Path) -> None:
    base = tmp_path / "ml"
    done = start(ran, base, FAIL="2")
    assert done.returncode == 1, done.stdout
    assert "rank 2 failed" in done.stdout
    assert "failed to run" in (base / "output/failure").read_text()


def test_no_process_waits_for_one_that_failed_before(ran: Small, tmp_path: Path) -> None:
    for path in ran.storage.rglob("*"):
        if path.is_file() and path.suffix != ".dir":
            path.unlink()
    base = tmp_path / "ml"
    done = start(ran, base)
    assert done.returncode == 1, done.stdout
    assert "data/prepared/0.txt is missing" in (base / "output/failure").read_text()
