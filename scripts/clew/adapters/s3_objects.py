"""What S3 tells of a DVC remote's objects: mostly enough to know their bytes without reading."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

AT_ONCE = 32  # requests
FEW = 1_000  # objects, which are asked for one by one: a list holds the strangers beside them too


def etags(odb: Any, oids: set[str]) -> dict[str, str]:
    """Return the ETags of those objects that are there.

    An ETag is the MD5 of an object that came in one part and without KMS, as DVC's small files do.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    return {oid: str(row["ETag"]).strip('"') for oid, row in _rows(odb, oids).items()}


def sizes(odb: Any, oids: set[str]) -> dict[str, int]:
    """Return the bytes of those objects that are there."""
    return {oid: int(row["size"]) for oid, row in _rows(odb, oids).items()}


def _rows(odb: Any, oids: set[str]) -> dict[str, Any]:
    paths = {odb.oid_to_path(oid): oid for oid in oids}
    look = _heads if len(oids) <= FEW else _listings
    found = ((row["name"], row) for row in look(odb.fs.fs, set(paths)))
    return {paths[name]: row for name, row in found if name in paths}


def _heads(fs: Any, paths: set[str]) -> Iterator[Any]:
    def head(path: str) -> Any:
        try:
            return fs.info(path, refresh=True)  # not what s3fs remembers
        except FileNotFoundError:
            return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from filter(None, pool.map(head, paths))


def _listings(fs: Any, paths: set[str]) -> Iterator[Any]:
    def rows(folder: str) -> Any:
        try:
            return [row for row in fs.ls(folder, detail=True, refresh=True) if "ETag" in row]
        except FileNotFoundError:
            return []

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for found in pool.map(rows, {path.rpartition("/")[0] for path in paths}):
            yield from found
