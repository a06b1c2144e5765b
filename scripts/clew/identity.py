"""The identities that hold the chain together, and the one canonical form they are hashed in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NewType

CommitSha = NewType("CommitSha", str)  # a full Git commit SHA
DataFingerprint = NewType("DataFingerprint", str)  # sha256 hex
RunFingerprint = NewType("RunFingerprint", str)  # sha256 hex
RunId = NewType("RunId", str)  # an MLflow run


@dataclass(frozen=True, order=True)
class Pointer:
    """What DVC committed for one path, named as dvc.lock names it.

    `hash` is the algorithm (`md5`, or `md5-dos2unix` before DVC 3), `md5` the digest, which ends
    in `.dir` for a directory. https://dvc.org/doc/user-guide/project-structure/dvcyaml-files
    """

    path: str  # relative to pipeline.yaml
    hash: str
    md5: str
    size: int | None = None  # bytes
    nfiles: int | None = None

    def as_json(self) -> dict[str, str | int | None]:
        return asdict(self)


def canonical_json(value: Any) -> bytes:
    """Return the one byte form of a JSON value: sorted keys, no spaces, UTF-8 unescaped."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def digest(value: Any) -> str:
    """Return the sha256 hex of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def data_fingerprint(pointers: Iterable[Pointer]) -> DataFingerprint:
    """Return the identity of a data state: the digest of its pointers, sorted by path."""
    return DataFingerprint(digest([pointer.as_json() for pointer in sorted(pointers)]))


def data_version(pipeline: str, fingerprint: DataFingerprint) -> str:
    """Return the name of the tag that keeps a data state reachable."""
    return f"data/{pipeline}/{fingerprint[:12]}"


def code_tag(pipeline: str, commit: CommitSha) -> str:
    """Return the name of the tag that keeps the commit of a model's code reachable."""
    return f"code/{pipeline}/{commit[:12]}"
