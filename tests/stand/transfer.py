"""How SageMaker moves data between S3 and the folders of a job."""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

AT_ONCE = 8


class TransferError(Exception):
    """Data could not be moved; the message is what SageMaker writes as the reason."""


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def keys_under(s3: Any, uri: str) -> list[str]:
    """The objects of an S3Prefix, except the empty ones that stand for folders."""
    bucket, prefix = split(uri)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    found = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return [key for key in found if not key.endswith("/")]


def relative(key: str, prefix: str) -> str:
    """Where an object goes below the folder of a prefix that may end within a name."""
    if key == prefix:
        return key.rpartition("/")[2]
    if key.startswith(prefix.rstrip("/") + "/"):
        return key[len(prefix.rstrip("/")) + 1 :]
    return key[len(prefix.rpartition("/")[0]) :].lstrip("/")


def download(
    s3: Any, uri: str, folder: Path, choose: Callable[[list[str]], list[str]] = list
) -> int:
    """Fetch everything under a prefix; `choose` picks the part of one host."""
    bucket, prefix = split(uri)
    keys = choose(sorted(keys_under(s3, uri)))

    def fetch(key: str) -> None:
        target = folder / relative(key, prefix)
        target.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, key, str(target))

    folder.mkdir(parents=True, exist_ok=True)
    _each(fetch, keys)
    return len(keys)


def upload_folder(s3: Any, folder: Path, uri: str, files: Iterable[Path] | None = None) -> int:
    """Store every file of a folder (or these) under a prefix."""
    bucket, prefix = split(uri)
    chosen = list(files if files is not None else files_in(folder))

    def store(file: Path) -> None:
        key = f"{prefix.rstrip('/')}/{file.relative_to(folder).as_posix()}".lstrip("/")
        # A running job may rename its temporary files meanwhile.
        with contextlib.suppress(FileNotFoundError):
            s3.upload_file(str(file), bucket, key)

    _each(store, chosen)
    return len(chosen)


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def upload_archive(s3: Any, folders: list[Path], uri: str, scratch: Path) -> None:
    """One .tar.gz with what several hosts left in the same folder; the first host's file wins."""
    seen: set[str] = set()
    with tarfile.open(scratch, "w:gz", compresslevel=1) as archive:
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                name = path.relative_to(folder).as_posix()
                if name not in seen:
                    seen.add(name)
                    archive.add(path, name, recursive=False)
    bucket, key = split(uri)
    s3.upload_file(str(scratch), bucket, key)
    scratch.unlink()


def _each(work: Callable[[Any], None], items: Iterable[Any]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(work, item) for item in items]:
            done.result()


def reason(error: Exception) -> str:
    """How S3's refusal reads in a FailureReason."""
    if isinstance(error, ClientError):
        details = error.response["Error"]
        return f"{details.get('Code')}: {details.get('Message')}"
    return str(error)
