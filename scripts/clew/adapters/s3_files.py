"""Files in S3 below one prefix: job code, specifications, results."""

from __future__ import annotations

import gzip
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import Any

from clew.adapters.aws import Aws, code_of, translated
from clew.errors import Unverifiable

ABSENT = ("404", "NoSuchKey", "NotFound")
BROKEN = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)


class S3Files:
    """Everything by full S3 URI."""

    def __init__(self, aws: Aws, kms_key: str | None) -> None:
        self._aws = aws
        self._encryption: dict[str, str] = {}
        if kms_key:
            self._encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key}

    @property
    def _client(self) -> Any:
        return self._aws.client("s3")

    def exists(self, uri: str) -> bool:
        return self.etag(uri) is not None

    @translated
    def etag(self, uri: str) -> str | None:
        """Return what S3 gives other bytes another of; None when there is no object."""
        from botocore.exceptions import ClientError

        bucket, key = split(uri)
        try:
            found = self._client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if code_of(error) in ABSENT:
                return None
            raise
        return str(found["ETag"]).strip('"')

    @translated
    def write(self, uri: str, content: bytes) -> None:
        bucket, key = split(uri)
        self._client.put_object(Bucket=bucket, Key=key, Body=content, **self._encryption)

    @translated
    def unpack(self, uri: str, target: Path) -> bool:
        """Unpack a tar.gz into a folder that appears at once and whole; False: there is none.

        Unverifiable when it is not what a job uploads: its bytes were replaced or cut off since.
        """
        if not self.exists(uri):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as name:
            file, folder = Path(name) / "archive", Path(name) / "content"
            bucket, key = split(uri)
            self._client.download_file(bucket, key, str(file))
            folder.mkdir()  # for an archive of nothing, too
            try:
                with tarfile.open(file) as archive:
                    archive.extractall(folder, filter="data")
            except BROKEN as error:
                raise Unverifiable(
                    f"{uri} is no whole archive: it was truncated or overwritten",
                    fix="Restore the version that the job uploaded; or delete it and run the same "
                    "again with --retry, which pays for another job.",
                ) from error
            settle(folder, target)
        return True

    @translated
    def download_folder(self, uri: str, target: Path) -> None:
        """Copy what is below a prefix into a folder that appears at once and whole."""
        bucket, prefix = split(f"{uri}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as name:
            folder = Path(name) / "content"
            folder.mkdir()
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                for row in page.get("Contents", ()):
                    file = folder / row["Key"].removeprefix(prefix)
                    if not file.resolve().is_relative_to(folder.resolve()):
                        continue  # a key may hold `..`
                    file.parent.mkdir(parents=True, exist_ok=True)
                    self._client.download_file(bucket, row["Key"], str(file))
            settle(folder, target)


def settle(folder: Path, target: Path) -> None:
    """Give a folder its name; what another process put there meanwhile is the same."""
    try:
        folder.rename(target)
    except OSError:
        if not target.exists():
            raise


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key of an S3 URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
