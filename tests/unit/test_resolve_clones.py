"""Resolution in clones: shallow, partial, detached, linked worktrees, submodules."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew.errors import ConfigError
from tests.gitrepo import GitRepo, data, isolate
from tests.unit.test_resolve import found, origin, refused, tagged


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(tmp_path, monkeypatch)


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return GitRepo(tmp_path / "repo")


@pytest.fixture
def deep(repo: GitRepo) -> GitRepo:
    """Return a repository whose data came in at the second of five commits."""
    repo.commit(data("zero"))
    repo.commit(data("one"))
    for number in range(3):
        repo.commit({"src/train.py": f"print({number})\n"})
    return repo


def test_shallow_clone_with_the_tag_needs_no_remote(deep: GitRepo, tmp_path: Path) -> None:
    expected, version = origin(deep), tagged(deep)
    shallow = deep.clone(tmp_path / "shallow", "--depth=1")
    shallow.git("fetch", "-q", "--depth=1", "origin", "tag", version)
    shallow.git("remote", "remove", "origin")
    assert origin(shallow) == expected


def test_shallow_clone_fetches_the_tag_alone(deep: GitRepo, tmp_path: Path) -> None:
    expected, version = origin(deep), tagged(deep)
    shallow = deep.clone(tmp_path / "shallow", "--depth=1", "--no-tags")
    assert origin(shallow) == expected
    assert found(shallow).data_version == version
    assert shallow.git("rev-list", "--count", "HEAD", version) == "2"


def test_shallow_clone_is_deepened_when_there_is_no_tag(deep: GitRepo, tmp_path: Path) -> None:
    shallow = deep.clone(tmp_path / "shallow", "--depth=2")
    assert origin(shallow) == origin(deep)
    assert not (shallow.path / ".git/shallow").exists()


def test_shallow_clone_that_holds_the_data_commit_is_left_alone(
    deep: GitRepo, tmp_path: Path
) -> None:
    shallow = deep.clone(tmp_path / "shallow", "--depth=5")
    shallow.git("remote", "remove", "origin")
    assert origin(shallow) == origin(deep)


def test_shallow_clone_without_remote_says_which_fetch_depth(deep: GitRepo, tmp_path: Path) -> None:
    shallow = deep.clone(tmp_path / "shallow", "--depth=2")
    shallow.git("remote", "remove", "origin")
    error = refused(shallow)
    assert isinstance(error, ConfigError)
    assert "fetch-depth: 0" in str(error)


def test_shallow_merge_of_a_pull_request_is_deepened(deep: GitRepo, tmp_path: Path) -> None:
    """What actions/checkout does: one commit of a ref that no branch has."""
    tree = deep.git("rev-parse", "HEAD^{tree}")
    merge = deep.git("commit-tree", tree, "-p", "HEAD~1", "-p", "HEAD", "-m", "merge")
    deep.git("update-ref", "refs/pull/1/merge", merge)
    shallow = GitRepo(tmp_path / "shallow")
    shallow.git("remote", "add", "origin", f"file://{deep.path}")
    pull = "+refs/pull/1/merge:refs/remotes/pull/1/merge"
    shallow.git("fetch", "-q", "--no-tags", "--depth=1", "origin", pull)
    shallow.git("checkout", "-q", "--detach", "refs/remotes/pull/1/merge")
    assert origin(shallow) == origin(deep)


def test_detached_head(deep: GitRepo) -> None:
    expected = origin(deep)
    deep.git("checkout", "-q", "--detach", "HEAD~1")
    assert origin(deep) == expected


def test_worktree(deep: GitRepo, tmp_path: Path) -> None:
    deep.git("worktree", "add", "-q", str(tmp_path / "linked"), "HEAD~1")
    assert origin(GitRepo(tmp_path / "linked")) == origin(deep)


def test_submodule_checkout(deep: GitRepo, tmp_path: Path) -> None:
    outer = GitRepo(tmp_path / "outer")
    outer.git("submodule", "add", "-q", f"file://{deep.path}", "inner")
    outer.commit()
    inner = GitRepo(tmp_path / "outer/inner")
    assert (inner.path / ".git").is_file()
    assert origin(inner) == origin(deep)


def test_partial_clone(deep: GitRepo, tmp_path: Path) -> None:
    deep.git("config", "uploadpack.allowFilter", "true")
    partial = deep.clone(tmp_path / "partial", "--filter=blob:none")
    assert origin(partial) == origin(deep)
