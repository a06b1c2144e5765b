"""The Git adapter writing commits, tags and snapshots without touching more than it says."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from clew.errors import ConfigError
from clew.repository import Advance
from tests.gitrepo import GitRepo, git
from tests.unit.git.conftest import LOCK, bot_commit

# --- working tree --------------------------------------------------------------------------------


def test_head_branch(repo: GitRepo) -> None:
    assert repo.repository.head_branch() == "main"
    repo.git("checkout", "-q", "-b", "feature/x")
    assert repo.repository.head_branch() == "feature/x"
    repo.git("checkout", "-q", "--detach")
    assert repo.repository.head_branch() is None


def test_dirty_sees_every_kind_of_change(repo: GitRepo) -> None:
    repo.commit({"gone": "x", "moved": "y\n" * 20, ".gitignore": "ignored\n"})
    repo.git("mv", "moved", "renamed")
    repo.write({"gone": None, "README": "edited\n", "new/deep/file": "x", "ignored": "x"})
    expected = ["README", "gone", "moved", "new/deep/file", "renamed"]
    assert sorted(repo.repository.dirty(["."])) == expected
    assert repo.repository.dirty(["src", "absent", "*"]) == []
    assert repo.repository.dirty(["new"]) == ["new/deep/file"]


def test_snapshot_takes_only_these_paths_and_moves_nothing(repo: GitRepo) -> None:
    head = repo.head
    repo.commit({".gitignore": "ignored\n", "src/gone": "x"})
    repo.write({"src/train.py": "edited\n", "src/new": "n", "README": "edited\n"})
    repo.write({"src/gone": None, "src/ignored": "x"})
    repo.git("add", "README")
    before = (repo.head, repo.git("status", "--porcelain"), repo.git("for-each-ref"))
    commit = repo.repository.snapshot(["src", "absent"])
    assert (repo.head, repo.git("status", "--porcelain"), repo.git("for-each-ref")) == before
    names = {entry.path for entry in repo.repository.entries(commit)}
    assert names == {LOCK, "README", ".gitignore", "src/train.py", "src/new"}
    assert repo.repository.read(commit, ["README", "src/train.py"]) == {
        "README": b"words\n",
        "src/train.py": b"edited\n",
    }
    assert repo.git("rev-parse", f"{commit}~2") == head
    assert repo.repository.snapshot(["src"]) == commit


def test_snapshot_of_a_clean_tree_is_head(repo: GitRepo) -> None:
    assert repo.repository.snapshot(["src", "."]) == repo.head
    assert repo.repository.snapshot([]) == repo.head


def test_snapshot_of_a_file_that_became_a_folder(repo: GitRepo) -> None:
    repo.write({"README": None})
    repo.write({"README/now": "x"})
    commit = repo.repository.snapshot(["README"])
    assert repo.repository.read(commit, ["README/now"]) == {"README/now": b"x"}


def test_snapshot_leaves_a_repository_inside_out(repo: GitRepo) -> None:
    GitRepo(repo.path / "src/nested").commit({"a": "a"})
    repo.write({"src/train.py": "edited\n"})
    commit = repo.repository.snapshot(["src"])
    assert repo.repository.read(commit, ["src/train.py"])["src/train.py"] == b"edited\n"


def test_sha256_repositories(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256", "long")
    repo = GitRepo(tmp_path / "long")
    head = repo.commit({LOCK: "one\n"})
    assert len(head) == 64
    new = bot_commit(repo)
    repo.repository.create_tag("data/x/1", new, "m")
    assert repo.repository.tag_commit("data/x/1") == new
    assert [entry.commit for entry in repo.repository.history(new, [LOCK])] == [new, head]
    assert repo.repository.read(new, [LOCK, "absent"]) == {LOCK: b"two\n", "absent": None}


def test_archive_is_the_commit_and_always_the_same(repo: GitRepo, tmp_path: Path) -> None:
    repo.write({"README": "dirty\n"})
    repo.repository.archive(repo.head, tmp_path / "a.tar")
    repo.git("config", "core.autocrlf", "true")
    repo.git("config", "tar.umask", "0077")
    repo.repository.archive(repo.head, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        file = archive.extractfile("README")
        assert file is not None
        assert file.read() == b"words\n"
        assert "src/train.py" in archive.getnames()
    assert sorted(path.name for path in tmp_path.glob("*tar*")) == ["a.tar", "b.tar"]


# --- commits and tags ----------------------------------------------------------------------------


def test_commit_file_is_deterministic_and_touches_nothing(repo: GitRepo, tmp_path: Path) -> None:
    repo.write({"README": "edited\n"})
    repo.git("config", "commit.gpgSign", "true")
    repo.git("config", "user.name", "Somebody")
    status = repo.git("status", "--porcelain")
    made = {bot_commit(repo), bot_commit(repo), bot_commit(repo.clone(tmp_path / "elsewhere"))}
    (commit,) = made
    assert repo.head == repo.git("rev-parse", f"{commit}~1")
    assert repo.git("status", "--porcelain") == status
    assert repo.git("diff", "--name-only", "HEAD", commit) == LOCK
    assert repo.git("show", "-s", "--format=%an %ae %cn %B", commit) == (
        "clew clew@localhost clew Process prepare"
    )
    dates = repo.git("show", "-s", "--format=%ct", commit, "HEAD").split()
    assert dates[0] == dates[1]


def test_commit_file_can_add_a_file_and_keeps_its_mode(repo: GitRepo) -> None:
    (repo.path / "src/train.py").chmod(0o755)
    repo.commit()
    commit = repo.repository.commit_file(repo.head, "a/b/c", b"new", "m")
    commit = repo.repository.commit_file(commit, "src/train.py", b"new", "m")
    entries = {entry.path: entry.mode for entry in repo.repository.entries(commit)}
    assert (entries["a/b/c"], entries["src/train.py"]) == ("100644", "100755")


def test_create_tag_is_deterministic_and_can_be_repeated(repo: GitRepo, tmp_path: Path) -> None:
    repo.git("config", "tag.gpgSign", "true")
    twin = repo.clone(tmp_path / "twin")
    for one in (repo, repo, twin):
        one.repository.create_tag("data/x/1", repo.head, "Data version")
    assert repo.git("rev-parse", "data/x/1") == twin.git("rev-parse", "data/x/1")
    assert repo.git("cat-file", "-t", "data/x/1") == "tag"
    assert repo.repository.tag_commit("data/x/1") == repo.head
    repo.git("fsck", "--strict")


def test_create_tag_elsewhere_is_refused(repo: GitRepo) -> None:
    first = repo.head
    repo.repository.create_tag("data/x/1", first, "m")
    second = repo.commit()
    with pytest.raises(ConfigError) as caught:
        repo.repository.create_tag("data/x/1", second, "m")
    assert first in str(caught.value)
    assert second in str(caught.value)
    assert repo.repository.tag_commit("data/x/1") == first


def test_create_tag_under_another_tag_is_refused(repo: GitRepo) -> None:
    repo.git("tag", "data")
    with pytest.raises(ConfigError, match="can't be created"):
        repo.repository.create_tag("data/x/1", repo.head, "m")


def test_hooks_are_never_run(repo: GitRepo, bare: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    names = ("pre-commit", "commit-msg", "post-commit", "pre-push", "reference-transaction")
    for name in (*names, "post-merge", "post-checkout", "post-index-change"):
        hook = repo.path / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {mark}\nexit 1\n")
        hook.chmod(0o755)
    repository, old = repo.repository, repo.head
    new = bot_commit(repo)
    repository.create_tag("data/x/1", new, "m")
    repository.push_tag("data/x/1")
    assert repository.advance("main", old, new, LOCK) is Advance.MOVED
    assert repository.fast_forward(old, new)
    assert not mark.exists()


def test_fast_forward(repo: GitRepo) -> None:
    old, new = repo.head, bot_commit(repo)
    repo.write({"README": "edited\n"})
    assert repo.repository.fast_forward(old, new)
    assert repo.head == new
    assert (repo.path / LOCK).read_text() == "two\n"
    assert repo.git("status", "--porcelain") == "M README"
    assert repo.repository.fast_forward(old, new), "a second time changes nothing"


def test_fast_forward_never_overwrites_local_changes(repo: GitRepo) -> None:
    old, new = repo.head, bot_commit(repo)
    repo.write({LOCK: "mine\n"})
    assert not repo.repository.fast_forward(old, new)
    assert repo.head == old
    assert (repo.path / LOCK).read_text() == "mine\n"


def test_fast_forward_only_from_old(repo: GitRepo) -> None:
    old, new = repo.head, bot_commit(repo)
    moved = repo.commit()
    assert not repo.repository.fast_forward(old, new)
    repo.git("checkout", "-q", "--detach", old)
    assert not repo.repository.fast_forward(old, new)
    assert repo.git("rev-parse", "main") == moved


# --- combinations --------------------------------------------------------------------------------


def test_a_combination_takes_these_paths_from_the_other_commit_and_moves_nothing(
    repo: GitRepo,
) -> None:
    old = repo.commit({"src/gone": "x", "src-like": "1", "kind": "file", "p": "1"})
    new = repo.commit({"src/gone": None, "src/new": "n", "src-like": "2", "kind": None, "p": "2"})
    head = repo.commit({"kind/inside": "now a folder"})
    made = repo.repository.combine(head, old, ["src", "kind", "absent"])
    names = repo.git("ls-tree", "-r", "--name-only", made).split()
    assert {"src/gone", "kind"} <= set(names)
    assert not {"src/new", "kind/inside"} & set(names)
    assert repo.git("show", f"{made}:src-like") == "2"
    assert repo.git("show", f"{made}:p") == "2"
    assert repo.git("rev-parse", f"{made}^") == head
    assert (repo.head, repo.git("status", "--porcelain")) == (head, "")
    assert repo.repository.combine(head, old, ["src", "kind", "absent"]) == made
    assert repo.repository.combine(head, new, ["src"]) == head
