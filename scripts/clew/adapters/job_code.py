"""The code that runs inside jobs, `clew.container`, as one file that Python can run."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

from clew.container.packages import REQUIREMENTS

CONTAINER = Path(__file__).parent.parent / "container"
START = """\
import sys
from clew.container.packages import bring
bring()
from clew.container.__main__ import main
sys.exit(main())
"""
CONTAINER_FIELDS = (  # of a JobSpec, for what runs inside
    *("bundle", "bundle_sha256", "workdir", "stages", "remote", "pull", "push"),
    *("force", "params", "channels", "model", "collect"),
)
PROGRAM = "clew_job.py"
RUN = 'import runpy\n\nrunpy.run_path("job.pyz", run_name="__main__")\n'
EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's first day: the same code is the same bytes


def job_code() -> bytes:
    """Return a Python zip application (docs.python.org/3/library/zipapp.html), always the same."""
    files = {
        f"clew/container/{path.name}": path.read_text() for path in sorted(CONTAINER.glob("*.py"))
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in {"__main__.py": START, "clew/__init__.py": "", **files}.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text)
    return buffer.getvalue()


def code_archive(bundle: Path, requirements: str) -> tuple[bytes, str]:
    """Return a tar.gz of the bundle and what runs it, and the sha256 of what is in it."""
    contents = {
        PROGRAM: RUN.encode(),
        "job.pyz": job_code(),
        "bundle.tar": bundle.read_bytes(),
    }
    if requirements:
        contents[REQUIREMENTS] = requirements.encode()
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue(), hashlib.sha256(b"".join(contents.values())).hexdigest()


def job_requirements() -> str:
    """Return what a job needs besides Python: DVC, locked with the hash of every file."""
    return (CONTAINER / "requirements.txt").read_text()
