"""The source bundle: the bytes of one commit that a job sees, and nothing else."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clew.context import Context
from clew.errors import ConfigError
from clew.identity import CommitSha
from clew.inputs import touches
from clew.repository import TreeEntry

LFS_HEADER = b"version https://git-lfs.github.com/spec/"
SYMLINK = "120000"
SHA1_DIGITS = 40
UNPACKED = "/opt/ml"  # any folder
LFS_POINTER_BYTES = 1024  # https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md


@dataclass(frozen=True)
class Bundle:
    path: Path
    sha256: str


def bundle(context: Context, commit: CommitSha, needed: Iterable[str]) -> Bundle:
    """Return the commit as a tar file; ConfigError when it lacks what the stages need.

    `git archive` leaves out submodules, the contents of Git LFS files and export-ignored paths, and
    filters and `export-subst` can write other bytes: each needed file is held against its blob id.
    """
    path = context.state / "bundles" / f"{commit}.tar"
    wanted = {context.project.path(item) for item in needed}
    if path.exists():
        with suppress(ConfigError, tarfile.TarError):
            _refuse_gaps(context, commit, path, wanted)
            return _hashed(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    context.project.repository.archive(commit, path)
    _refuse_gaps(context, commit, path, wanted)
    return _hashed(path)


def _hashed(path: Path) -> Bundle:
    with path.open("rb") as file:
        return Bundle(path, hashlib.file_digest(file, "sha256").hexdigest())


def _refuse_gaps(context: Context, commit: CommitSha, path: Path, needed: set[str]) -> None:
    with tarfile.open(path) as archive:
        members = {member.name.rstrip("/"): member for member in archive}
        _refuse_links_out(members.values())
        for entry in context.project.repository.entries(commit):
            if not any(touches(entry.path, item) for item in needed):
                continue
            if entry.kind == "commit":
                _refuse(entry.path, "is a submodule", "Copy its files into this repository.")
            if entry.path not in members:
                _refuse(entry.path, "is export-ignored", "Remove the rule from .gitattributes.")
            if (file := archive.extractfile(members[entry.path])) is not None:
                _refuse_other_bytes(entry, file.read())


def _refuse_links_out(members: Iterable[tarfile.TarInfo]) -> None:
    """Refuse what a job could not unpack: https://docs.python.org/3/library/tarfile.html#filters"""
    for member in members:
        try:
            tarfile.data_filter(member, UNPACKED)
        except tarfile.FilterError as error:
            raise ConfigError(
                f"{member.name} links out of the repository, to {member.linkname}, so no job can "
                "unpack this commit",
                fix="Link to a path in the repository, or `export-ignore` it in .gitattributes.",
            ) from error


def _refuse_other_bytes(entry: TreeEntry, content: bytes) -> None:
    if content.startswith(LFS_HEADER) and len(content) <= LFS_POINTER_BYTES:
        _refuse(entry.path, "is kept in Git LFS", "Track it with `dvc add` instead.")
    if entry.mode != SYMLINK and blob_id(content, len(entry.id)) != entry.id:
        fix = "Remove `filter`, `ident` and `export-subst` for it from .gitattributes."
        _refuse(entry.path, "is changed by Git on its way out", fix)


def blob_id(content: bytes, digits: int) -> str:
    """Return Git's id of a file's bytes, in a SHA-1 (40 digits) or SHA-256 repository.

    https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    """
    algorithm = "sha1" if digits == SHA1_DIGITS else "sha256"
    made = hashlib.new(algorithm, b"blob %d\0" % len(content), usedforsecurity=False)
    made.update(content)
    return made.hexdigest()


def _refuse(path: str, why: str, fix: str) -> None:
    raise ConfigError(f"a stage needs {path}, but it {why}, so no job would see it", fix=fix)
