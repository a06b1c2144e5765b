"""A folder of the container that SageMaker keeps in S3 while the job runs: checkpoints (see
https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html) and the outputs of
processing jobs with S3UploadMode Continuous.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.stand import transfer
from tests.stand.container import Host

EVERY = 1.0  # seconds


class FolderSync:
    """Files that changed are copied to S3; a new instance gets them all back."""

    def __init__(self, s3: Any, uri: str, path: str) -> None:
        self._s3 = s3
        self._uri = uri
        self._path = path
        self._stored: dict[Path, tuple[int, int]] = {}
        self._last = 0.0

    def restore(self, host: Host) -> None:
        folder = host.local(self._path)
        transfer.download(self._s3, self._uri, folder)
        self._stored |= {file: _version(file) for file in transfer.files_in(folder)}

    def save(self, hosts: list[Host], final: bool = False) -> None:
        """Now and then while the job runs, and once when the containers have ended."""
        if not final and time.monotonic() - self._last < EVERY:
            return
        self._last = time.monotonic()
        for host in hosts:
            folder = host.local(self._path)
            versions = {file: _version(file) for file in transfer.files_in(folder)}
            changed = {
                file: version
                for file, version in versions.items()
                if version != self._stored.get(file)
            }
            with tempfile.TemporaryDirectory() as scratch:
                copies = _copy(changed, folder, Path(scratch))
                transfer.upload_folder(self._s3, Path(scratch), self._uri, copies)
            self._stored |= changed


def _copy(files: Iterable[Path], folder: Path, scratch: Path) -> list[Path]:
    """A running job writes on: what is sent must not change meanwhile."""
    copies = []
    for file in files:
        copy = scratch / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(file, copy)
            copies.append(copy)
    return copies


def _version(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except FileNotFoundError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)
