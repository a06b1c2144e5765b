"""A repository, its bare origin and a colleague's clone."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew.identity import CommitSha
from tests.gitrepo import GitRepo, git, isolate

LOCK = "dvc.lock"


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(tmp_path, monkeypatch)


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    repo = GitRepo(tmp_path / "repo")
    repo.commit({LOCK: "one\n", "src/train.py": "print()\n", "README": "words\n"})
    return repo


@pytest.fixture
def bare(repo: GitRepo, tmp_path: Path) -> Path:
    return repo.publish(tmp_path / "origin.git")


@pytest.fixture
def colleague(bare: Path, tmp_path: Path) -> GitRepo:
    git(tmp_path, "clone", "-q", f"file://{bare}", "colleague")
    return GitRepo(tmp_path / "colleague")


def bot_commit(repo: GitRepo, content: str = "two\n") -> CommitSha:
    return repo.repository.commit_file(repo.head, LOCK, content.encode(), "Process prepare\n")


def deny(bare: Path, refs: str, hook: str = "update") -> None:
    """Make the remote decline refs of this shell pattern."""
    file = bare / "hooks" / hook
    file.write_text(f'#!/bin/sh\ncase "$1" in {refs}) echo protected >&2; exit 1;; esac\n')
    file.chmod(0o755)
