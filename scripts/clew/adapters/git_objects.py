"""Reading a Git repository: commits, trees and blobs, never the working tree's files."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from clew.adapters.git_command import Git
from clew.conflicts import Unmerged
from clew.errors import ConfigError
from clew.identity import CommitSha
from clew.repository import CommitFacts, FileChange, HistoryEntry, TreeEntry

OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
ID_ONLY = "--batch-check=%(objectname)"
SUBMODULE = "160000"
OPERATIONS = {  # what Git has open, by the file that says so
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "MERGE_HEAD": "merge",
}
# An archive holds what was committed: no smudge filter, no line ends of this machine.
ARCHIVE_OPTIONS = {
    "core.attributesFile": os.devnull,
    "core.autocrlf": "false",
    "core.eol": "lf",
    "filter.lfs.process": "",
    "filter.lfs.smudge": "",
    "filter.lfs.required": "false",
    "tar.umask": "0022",
}


class GitObjects:
    """What a repository holds, by commit."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._git = Git(root)

    def commit(self, revision: str) -> CommitSha:
        found = None if revision.startswith(("-", "^")) else self._peeled(revision)
        if found is not None:
            return found
        if self._peeled("HEAD") is None:
            raise ConfigError(
                f"the repository at {self.root} has no commit yet", fix="Commit your work first."
            )
        raise ConfigError(
            f"this clone has no commit {revision!r}",
            fix="Check the name; if only the remote has it, run `git fetch` first.",
        )

    def _peeled(self, revision: str) -> CommitSha | None:
        done = self._git.attempt("rev-parse", "--quiet", "--verify", f"{revision}^{{commit}}")
        found = done.stdout.decode(errors="replace").strip()
        return CommitSha(found) if OBJECT_ID.fullmatch(found) else None

    def facts(self, commit: CommitSha) -> CommitFacts:
        shape = "--format=%P%x00%ct%x00%(trailers:only,unfold)"
        parents, time, trailers = (
            self._git.run("show", "--no-patch", shape, commit).decode(errors="replace").split("\0")
        )
        found = (line.partition(":") for line in trailers.splitlines() if ":" in line)
        return CommitFacts(
            tuple(CommitSha(parent) for parent in parents.split()),
            int(time),
            {key.strip(): value.strip() for key, _, value in found},
        )

    def tag_commit(self, tag: str) -> CommitSha | None:
        return self._peeled(f"refs/tags/{tag}")

    def read(self, commit: CommitSha, paths: Sequence[str]) -> dict[str, bytes | None]:
        found = self._contents(self._names([(commit, path) for path in paths]))
        return dict(zip(paths, found, strict=True))

    def blobs(self, ids: Iterable[str]) -> dict[str, bytes]:
        wanted = list(ids)
        found = self._contents(os.fsencode(name) for name in wanted)
        return {n: text for n, text in zip(wanted, found, strict=True) if text is not None}

    def object_ids(self, objects: Sequence[tuple[CommitSha, str]]) -> list[str | None]:
        if not objects:
            return []
        answer = self._git.run("cat-file", ID_ONLY, stdin=_lines(self._names(objects)))
        lines = (line.decode(errors="replace") for line in answer.split(b"\n")[:-1])
        return [line if OBJECT_ID.fullmatch(line) else None for line in lines]

    def _known(self, ids: Iterable[str]) -> frozenset[str]:
        """Return those of the ids that this clone has."""
        answer = self._git.run("cat-file", ID_ONLY, stdin=_lines(map(str.encode, ids)))
        return frozenset(line for line in answer.decode().splitlines() if " " not in line)

    def _names(self, objects: Sequence[tuple[CommitSha, str]]) -> list[bytes]:
        """Return how `git cat-file` is asked for these, one line each."""
        return [
            os.fsencode(f"{commit}:{'' if path == '.' else path}")
            if "\n" not in path
            else self._name_of_odd_path(commit, path)
            for commit, path in objects
        ]

    def _name_of_odd_path(self, commit: CommitSha, path: str) -> bytes:
        row = self._git.run("ls-tree", "-z", "--full-tree", commit, "--", path)
        return row.partition(b"\t")[0].rpartition(b" ")[2] or b"0" * 40

    def _contents(self, names: Iterable[bytes]) -> list[bytes | None]:
        request = _lines(names)
        if not request:
            return []
        answer = self._git.run("cat-file", "--batch", stdin=request)
        contents: list[bytes | None] = []
        at = 0
        while at < len(answer):
            end = answer.index(b"\n", at)
            header = answer[at:end].split(b" ")
            at = end + 1
            if header[-1].isdigit() and OBJECT_ID.fullmatch(header[0].decode(errors="replace")):
                size = int(header[-1])
                contents.append(answer[at : at + size] if header[1] == b"blob" else None)
                at += size + 1
            else:
                contents.append(None)
        return contents

    def history(self, commit: CommitSha, paths: Sequence[str]) -> Iterator[HistoryEntry]:
        # --sparse keeps the commits that change none of the paths; one diff for each commit, with
        # the first parent, is all a walk needs as long as it follows first parents.
        tokens = self._tokens(
            "log",
            "-z",
            "--format=@%H %P",
            "--full-history",
            "--sparse",
            "--diff-merges=first-parent",
            "--raw",
            "--root",
            "--no-abbrev",
            "--no-renames",
            "--no-ext-diff",
            "--no-color",
            "--ignore-submodules=none",
            commit,
            "--",
            *paths,
        )
        entry: HistoryEntry | None = None
        before: dict[str, str | None] = {}
        for token in tokens:
            if token.startswith(b"@"):
                if entry is not None:
                    yield entry
                sha, *parents = token[1:].decode().split()
                before = {}
                entry = HistoryEntry(
                    CommitSha(sha), tuple(CommitSha(parent) for parent in parents), before
                )
            elif token.lstrip().startswith(b":"):
                before[os.fsdecode(next(tokens))] = _old_blob(token)
        if entry is not None:
            yield entry

    def _tokens(self, *arguments: str) -> Iterator[bytes]:
        rest = b""
        for block in self._git.stream(*arguments):
            *whole, rest = (rest + block).split(b"\0")
            yield from whole
        yield rest

    def shallow_boundary(self) -> frozenset[CommitSha]:
        file = self._git_path("shallow")
        if not file.exists():
            return frozenset()
        return frozenset(CommitSha(line) for line in file.read_text().split())

    def entries(self, commit: CommitSha) -> list[TreeEntry]:
        rows = self._git.run("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0")
        entries = []
        for row in filter(None, rows):
            facts, _, path = row.partition(b"\t")
            mode, kind, oid = facts.decode().split()
            entries.append(TreeEntry(mode, kind, oid, os.fsdecode(path)))
        return entries

    def changes(self, base: CommitSha, head: CommitSha, paths: Sequence[str]) -> list[FileChange]:
        answer = self._git.run(
            "--literal-pathspecs",
            "diff-tree",
            *("-r", "-z", "--raw", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv"),
            *(base, head, "--", *paths),
        )
        return list(_changes(answer.split(b"\0")[:-1]))

    def head_branch(self) -> str | None:
        done = self._git.attempt("symbolic-ref", "--quiet", "HEAD")
        name = os.fsdecode(done.stdout).strip()
        return name.removeprefix("refs/heads/") or None

    def dirty(self, paths: Sequence[str]) -> list[str]:
        if not paths:
            return []
        rows = self._git.run(
            "status",
            "--porcelain=v1",
            "-z",
            "--untracked-files=all",
            "--no-renames",
            "--ignore-submodules=none",
            "--",
            *paths,
        ).split(b"\0")
        return [os.fsdecode(row[3:]) for row in filter(None, rows)]

    def unmerged(self) -> Unmerged | None:
        rows = self._git.run("ls-files", "--unmerged", "-z").split(b"\0")
        paths = sorted({os.fsdecode(row.partition(b"\t")[2]) for row in filter(None, rows)})
        if not paths:
            return None
        named = (name for mark, name in OPERATIONS.items() if self._git_path(mark).exists())
        return Unmerged(next(named, ""), tuple(paths))

    def _git_path(self, name: str) -> Path:
        path = self._git.run("rev-parse", "--git-path", name).rstrip(b"\n")
        return self.root / os.fsdecode(path)

    def archive(self, commit: CommitSha, target: Path) -> None:
        options = [w for key, value in ARCHIVE_OPTIONS.items() for w in ("-c", f"{key}={value}")]
        # A killed clew must not leave half an archive under the name of a whole one.
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            part = Path(folder) / "part.tar"
            self._git.run(*options, "archive", "--format=tar", f"--output={part}", commit)
            part.replace(target)


def _lines(names: Iterable[bytes]) -> bytes:
    return b"".join(name + b"\n" for name in names)


def _changes(tokens: Sequence[bytes]) -> Iterator[FileChange]:
    """Yield what `git diff-tree -z --raw --numstat` tells: first all raw rows, then the numbers."""
    words = {"A": "added", "D": "removed"}
    kinds: dict[bytes, str] = {}
    rows = iter(tokens)
    for row in rows:
        if row.startswith(b":"):
            kinds[next(rows)] = words.get(row[-1:].decode(), "changed")
            continue
        added, removed, path = row.split(b"\t", 2)
        lines = [None if count == b"-" else int(count) for count in (added, removed)]
        yield FileChange(os.fsdecode(path), kinds[path], *lines)


def _old_blob(raw: bytes) -> str | None:
    """Return the blob of the old side of a `--raw` row, None where there was no file."""
    mode, _, old, *_ = raw.decode().strip().lstrip(":").split()
    return None if mode in ("000000", SUBMODULE) else old
