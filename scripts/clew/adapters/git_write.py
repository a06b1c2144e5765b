"""Writing to the local repository: commits and tags whose SHA depends on their content alone."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from clew.adapters.git_objects import GitObjects
from clew.errors import ConfigError
from clew.identity import CommitSha
from clew.repository import TreeEntry

NAME, EMAIL = "clew", "clew@localhost"
NO_OBJECT = ""  # what `git update-ref` calls a ref that must not exist
REGULAR_FILE = "100644"
IDENTITY = re.compile("GIT_(AUTHOR|COMMITTER)_(NAME|EMAIL)")


class GitWriter(GitObjects):
    """Makes commits and tags; moves no branch but the one it is told to."""

    def snapshot(self, paths: Sequence[str]) -> CommitSha:
        head = self.commit("HEAD")
        update = ("update-index", "-z", "--add", "--remove", "--replace", "--stdin")
        with _temporary_index() as index:
            self._git.run("read-tree", head, env=index)
            self._git.run(*update, stdin=self._files_under(paths, index), env=index)
            tree = self._git.run("write-tree", env=index).decode().strip()
        if tree == self._tree(head):
            return head
        return self._commit_tree(tree, head, "Snapshot of an uncommitted tree\n")

    def _files_under(self, paths: Sequence[str], index: Mapping[str, str]) -> bytes:
        """Return the files that Git tracks or would track, each ended by a NUL."""
        if not paths:
            return b""
        listing = ("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--")
        rows = self._git.run(*listing, *paths, env=index).split(b"\0")
        return b"".join(row + b"\0" for row in rows if row and not self._is_plain_folder(row))

    def _is_plain_folder(self, name: bytes) -> bool:
        """Tell whether a folder is now where a file was; a submodule's folder is no such."""
        path = self.root / os.fsdecode(name)
        return path.is_dir() and not path.is_symlink() and not (path / ".git").exists()

    def commit_file(self, parent: CommitSha, path: str, content: bytes, message: str) -> CommitSha:
        blob = self._git.run("hash-object", "-w", "--stdin", stdin=content).decode().strip()
        row = f"{self._mode(parent, path)} {blob}\t".encode() + os.fsencode(path) + b"\0"
        with _temporary_index() as index:
            self._git.run("read-tree", parent, env=index)
            self._git.run("update-index", "-z", "--index-info", stdin=row, env=index)
            # A partial clone lacks blobs, and needs none of them here.
            tree = self._git.run("write-tree", "--missing-ok", env=index).decode().strip()
        return self._commit_tree(tree, parent, message)

    def combine(self, head: CommitSha, other: CommitSha, paths: Sequence[str]) -> CommitSha:
        gone = [f"0 {'0' * len(row.id)}\t{row.path}" for row in self._under(head, paths)]
        there = [f"{row.mode} {row.id}\t{row.path}" for row in self._under(other, paths)]
        rows = b"".join(os.fsencode(row) + b"\0" for row in (*gone, *there))
        with _temporary_index() as index:
            self._git.run("read-tree", head, env=index)
            self._git.run("update-index", "-z", "--index-info", stdin=rows, env=index)
            tree = self._git.run("write-tree", "--missing-ok", env=index).decode().strip()
        if tree == self._tree(head):
            return head
        return self._commit_tree(tree, head, f"Combination with {other}\n")

    def _under(self, commit: CommitSha, paths: Sequence[str]) -> list[TreeEntry]:
        rows = self.entries(commit)
        return [row for row in rows if any(f"{row.path}/".startswith(f"{p}/") for p in paths)]

    def create_tag(self, tag: str, commit: CommitSha, message: str) -> None:
        if self._is_tagged(tag, commit):
            return
        lines = (
            f"object {commit}",
            "type commit",
            f"tag {tag}",
            f"tagger {NAME} <{EMAIL}> {self._date(commit)}",
            "",
            message.rstrip("\n"),
            "",
        )
        made = self._git.run("mktag", stdin="\n".join(lines).encode()).decode().strip()
        done = self._git.attempt("update-ref", f"refs/tags/{tag}", made, NO_OBJECT)
        if done.returncode and not self._is_tagged(tag, commit):
            said = done.stderr.decode(errors="replace").strip()
            raise ConfigError(f"the tag {tag} can't be created: {said}")

    def _is_tagged(self, tag: str, commit: CommitSha) -> bool:
        """Tell whether the tag exists; ConfigError when it is on another commit."""
        found = self.tag_commit(tag)
        if found not in (None, commit):
            raise ConfigError(
                f"the tag {tag} exists already, on {found} instead of {commit}",
                fix="Find out who set it; a data version never moves. "
                f"If it is wrong: git tag -d {tag}",
            )
        return found is not None

    def commit_path(self, path: str, message: str) -> CommitSha:
        if self.head_branch() is None:
            raise ConfigError("no branch is checked out", fix="Run `git switch` to one first.")
        arguments = ("commit", "--quiet", "--file=-", "--only", "--", path)
        # The commit is the user's own, as the user's environment names them.
        who = {key: value for key, value in os.environ.items() if IDENTITY.fullmatch(key)}
        done = self._git.attempt(*arguments, stdin=message.encode(), env=who)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise ConfigError(
                f"git does not commit {path}: {said[-1]}",
                fix="Set user.name and user.email if Git does not know you; nothing was changed.",
            )
        return self.commit("HEAD")

    def fast_forward(self, old: CommitSha, new: CommitSha) -> bool:
        head = self._peeled("HEAD")
        if self.head_branch() is None or head not in (old, new):
            return False
        # `merge` refuses, as a whole, when a local change would be overwritten.
        options = ("--ff-only", "--quiet", "--no-stat", "--no-autostash", "--no-verify-signatures")
        return self._git.attempt("merge", *options, new).returncode == 0

    def _commit_tree(self, tree: str, parent: CommitSha, message: str) -> CommitSha:
        date = self._date(parent)
        who = {
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in (("NAME", NAME), ("EMAIL", EMAIL), ("DATE", f"@{date}"))
        }
        arguments = ("commit-tree", "--no-gpg-sign", "-p", parent, "-F", "-", tree)
        return CommitSha(
            self._git.run(*arguments, stdin=message.encode(), env=who).decode().strip()
        )

    def _date(self, commit: CommitSha) -> str:
        """Return the commit's date in Git's own form: what is made from it is made then."""
        stamp = self._git.run("rev-list", "-1", "--timestamp", commit).split()[0]
        return f"{stamp.decode()} +0000"

    def _mode(self, commit: CommitSha, path: str) -> str:
        row = self._git.run("ls-tree", "-z", "--full-tree", commit, "--", path)
        return row[:6].decode() if row.startswith(b"100") else REGULAR_FILE

    def _tree(self, commit: CommitSha) -> str | None:
        (tree,) = self.object_ids([(commit, "")])
        return tree


@contextmanager
def _temporary_index() -> Iterator[dict[str, str]]:
    """Give git an index of its own, so that the user's stays as it is."""
    with tempfile.TemporaryDirectory(prefix="clew-") as folder:
        yield {"GIT_INDEX_FILE": str(Path(folder) / "index")}
