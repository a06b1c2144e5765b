"""The Git repository as clew needs it: everything is read at a commit, never the working tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from clew.identity import CommitSha

if TYPE_CHECKING:
    from clew.conflicts import Unmerged


@dataclass(frozen=True)
class TreeEntry:
    """One row of `git ls-tree`: a blob, a tree, or a submodule's commit."""

    mode: str
    kind: str  # blob | tree | commit
    id: str
    path: str


class HistoryEntry(NamedTuple):
    """A commit of a history, and what its first parent had of the paths that were asked for."""

    commit: CommitSha
    parents: tuple[CommitSha, ...]
    before: Mapping[str, str | None]  # blob ids at the first parent, of paths that differ there


@dataclass(frozen=True)
class CommitFacts:
    parents: tuple[CommitSha, ...]
    time: int  # of committing, seconds since 1970
    trailers: Mapping[str, str]  # `Key: value` at the end of the message


class FileChange(NamedTuple):
    """One file that differs between two commits."""

    path: str
    change: str  # added | removed | changed
    added: int | None  # lines; None for a binary file
    removed: int | None


class RemoteBranches(NamedTuple):
    """The branches of a remote as they are now."""

    default: str | None  # the one that a clone checks out; None: the remote does not say
    tips: Mapping[str, CommitSha]


class Repository(Protocol):
    """A Git repository: everything is read at a commit, nothing from the working tree."""

    root: Path  # top of the working tree

    def commit(self, revision: str) -> CommitSha:
        """Return the full SHA of a revision; ConfigError when there is none."""

    def read(self, commit: CommitSha, paths: Sequence[str]) -> dict[str, bytes | None]:
        """Return the bytes of each path at the commit, None where there is no such blob."""

    def object_ids(self, objects: Sequence[tuple[CommitSha, str]]) -> list[str | None]:
        """Return the blob or tree id of each (commit, path), None where there is none."""

    def blobs(self, ids: Iterable[str]) -> dict[str, bytes]:
        """Return the bytes of each blob id."""

    def history(self, commit: CommitSha, paths: Sequence[str]) -> Iterator[HistoryEntry]:
        """Yield the commit and all its ancestors, each after one of its children at least."""

    def shallow_boundary(self) -> frozenset[CommitSha]:
        """Return the commits whose parents this clone lacks; empty for a full clone."""

    def deepen(self) -> bool:
        """Fetch the rest of the history; False when there is no remote to fetch it from."""

    def tag_commit(self, tag: str) -> CommitSha | None:
        """Return the commit a local tag points to."""

    def fetch_tag(self, tag: str) -> CommitSha | None:
        """Bring a tag and its commit from the remote; None when the remote has no such tag."""

    def entries(self, commit: CommitSha) -> list[TreeEntry]:
        """Return every blob and submodule of the commit's tree."""

    def head_branch(self) -> str | None:
        """Return the branch that is checked out, None when HEAD is detached."""

    def dirty(self, paths: Sequence[str]) -> list[str]:
        """Return the paths under these that differ from HEAD or that Git does not track."""

    def snapshot(self, paths: Sequence[str]) -> CommitSha:
        """Return a commit, on no branch, of HEAD with these paths as they are in the work tree."""

    def unmerged(self) -> Unmerged | None:
        """Return the conflicts that Git waits for somebody to solve, None when there are none."""

    def archive(self, commit: CommitSha, target: Path) -> None:
        """Write the commit's tree as a tar file (`git archive`)."""

    def commit_file(self, parent: CommitSha, path: str, content: bytes, message: str) -> CommitSha:
        """Return a commit on top of the parent with one file replaced; same input, same SHA."""

    def combine(self, head: CommitSha, other: CommitSha, paths: Sequence[str]) -> CommitSha:
        """Return a commit, on no branch, of `head` with these paths as `other` has them."""

    def changes(self, base: CommitSha, head: CommitSha, paths: Sequence[str]) -> list[FileChange]:
        """Return which files under these paths differ, with the lines added and removed."""

    def create_tag(self, tag: str, commit: CommitSha, message: str) -> None:
        """Create an annotated tag; same input, same tag object."""

    def push_tag(self, tag: str) -> None: ...

    def remote_url(self) -> str | None:
        """Return the remote's URL without credentials, None when there is no remote."""

    def is_ancestor(self, older: CommitSha, newer: CommitSha) -> bool | None:
        """Tell whether a commit is in another's history; None when that one can't be had."""

    def facts(self, commit: CommitSha) -> CommitFacts:
        """Return what a commit says of itself; ConfigError where this clone lacks it."""

    def branches(self) -> dict[str, CommitSha]:
        """Return the remote's branches as they are now, their commits brought here."""

    def remote_branches(self) -> RemoteBranches:
        """Return the remote's branches as they are now, their commits left there."""

    def bring_branches(self, tips: Mapping[str, CommitSha]) -> None:
        """Fetch the commits of these branches that this clone lacks."""

    def is_behind(self, commit: CommitSha, tips: Iterable[CommitSha]) -> bool:
        """Tell whether one of the tips that this clone has contains the commit."""

    def descendants(self, commit: CommitSha, among: Iterable[CommitSha]) -> frozenset[CommitSha]:
        """Return those of some commits that this clone has and that have one in their history."""

    def merge_base(self, one: CommitSha, other: CommitSha) -> CommitSha | None:
        """Return the commit that two histories share last; None when they share none."""

    def on_remote(self, commit: CommitSha) -> bool:
        """Tell whether the remote has this commit on a branch or tag, as of now."""

    def advance(
        self,
        branch: str,
        old: CommitSha,
        new: CommitSha,
        path: str,
        fits: Callable[[CommitSha], bool] = bool,
    ) -> Advance:
        """Bring `new` (one file changed on top of `old`) onto the remote's branch, never forced.

        `fits` tells whether the file would be right on top of another commit that came in between.
        """

    def commit_path(self, path: str, message: str) -> CommitSha:
        """Commit one file of the working tree on the branch, as whoever runs this.

        What else is staged stays so; ConfigError where Git refuses.
        """

    def push_branch(self) -> None:
        """Push the branch that is checked out to the remote's of that name, never forced."""

    def fast_forward(self, old: CommitSha, new: CommitSha) -> bool:
        """Move the checked-out branch from `old` to `new`; False when it is not at `old`."""


class Advance(Enum):
    """How a branch took the bot's commit."""

    MOVED = "moved"
    REBASED = "rebased"  # someone pushed in between; their commits come first
    OVERTAKEN = "overtaken: a newer commit changed its inputs, and gets its own"
    OFFERED = "offered"  # protected or conflicting: pushed as a branch of its own instead
    NO_REMOTE = "no remote"
