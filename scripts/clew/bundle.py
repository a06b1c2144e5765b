"""The source bundle: the bytes of one commit that a job sees, and nothing else."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clew.context import Context
from clew.errors import ConfigError
from clew.identity import CommitSha
from clew.inputs import touches

LFS_HEADER = b"version https://git-lfs.github.com/spec/"
LFS_POINTER_BYTES = 1024  # https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md


@dataclass(frozen=True)
class Bundle:
    path: Path
    sha256: str


def bundle(context: Context, commit: CommitSha, needed: Iterable[str]) -> Bundle:
    """Return the commit as a tar file; ConfigError when it lacks what the stages need.

    `git archive` leaves out submodules, the contents of Git LFS files and export-ignored paths.
    """
    path = context.state / "bundles" / f"{commit}.tar"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        context.project.repository.archive(commit, path)
    _refuse_gaps(context, commit, path, {context.project.path(item) for item in needed})
    with path.open("rb") as file:
        return Bundle(path, hashlib.file_digest(file, "sha256").hexdigest())


def _refuse_gaps(context: Context, commit: CommitSha, path: Path, needed: set[str]) -> None:
    with tarfile.open(path) as archive:
        members = {member.name.rstrip("/"): member for member in archive}
        for entry in context.project.repository.entries(commit):
            if not any(touches(entry.path, item) for item in needed):
                continue
            if entry.kind == "commit":
                _refuse(entry.path, "is a submodule", "Copy its files into this repository.")
            if entry.path not in members:
                _refuse(entry.path, "is export-ignored", "Remove the rule from .gitattributes.")
            member = members[entry.path]
            if member.isfile() and member.size <= LFS_POINTER_BYTES:
                file = archive.extractfile(member)
                if file is not None and file.read(len(LFS_HEADER)) == LFS_HEADER:
                    _refuse(entry.path, "is kept in Git LFS", "Track it with `dvc add` instead.")


def _refuse(path: str, why: str, fix: str) -> None:
    raise ConfigError(f"a stage needs {path}, but it {why}, so no job would see it", fix=fix)
