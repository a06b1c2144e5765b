"""The forge: where changes are proposed and discussed, and how clew speaks there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from clew.errors import ClewError, OutsideError
from clew.identity import CommitSha
from clew.trigger.model import PullRequest

ATTEMPTS = 3  # somebody may delete a comment between reading and writing it


class State(StrEnum):
    """What a commit status says, in GitHub's words."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"


@dataclass(frozen=True)
class Comment:
    id: str
    body: str


class CommentGone(OutsideError):
    """Somebody deleted the comment."""


class Forge(Protocol):
    """One repository on a forge; OutsideError says which right is missing, or what failed."""

    name: str
    characters: int  # of a comment, at most

    def pull_requests(self, branch: str) -> list[PullRequest]:
        """Return the open ones whose head is this branch of this very repository."""

    def pull_request(self, number: int) -> PullRequest | None: ...

    def comments(self, number: int) -> list[Comment]:
        """Return the comments of our own account on a pull request, the oldest first."""

    def comment(self, number: int, body: str) -> None: ...

    def edit(self, number: int, comment: Comment, body: str) -> None:
        """Replace a comment; CommentGone when there is none any more."""

    def delete(self, number: int, comment: Comment) -> None:
        """Delete a comment; nothing happens where somebody was faster."""

    def mark(
        self, commit: CommitSha, state: State, description: str, context: str, url: str = ""
    ) -> None:
        """Set a commit's status, which leads to `url`, where the forge has such a thing."""


def marker(pipeline: str) -> str:
    """Return the hidden line by which a pipeline's report is found again."""
    return f"<!-- clew report: {pipeline} -->"


def show(
    forge: Forge, numbers: Sequence[int], pipeline: str, body: str, *, fork: bool = False
) -> Iterator[str]:
    """Put the report on pull requests, one comment on each; yield what could not be done."""
    for number in numbers:
        try:
            _put(forge, number, marker(pipeline), body)
        except ClewError as error:
            yield f"no report on pull request {number}: {advice(error, fork=fork)}"


def advice(error: ClewError, *, fork: bool) -> str:
    """Return what failed and what to do; a fork's run may only read, and should."""
    if fork:
        return f"{error.what}; a fork's run may only read, its report is in the summary"
    return f"{error.what} {error.fix}".rstrip()


def _put(forge: Forge, number: int, mark: str, body: str) -> None:
    """Make or update the one comment; of two that were made at once the older stays."""
    for attempt in range(1, ATTEMPTS + 1):
        ours = _ours(forge, number, mark)
        if not ours:
            forge.comment(number, body)
            ours = _ours(forge, number, mark)
        try:
            if ours and ours[0].body.strip() != body.strip():
                forge.edit(number, ours[0], body)
            for twin in ours[1:]:
                forge.delete(number, twin)
        except CommentGone:
            if attempt == ATTEMPTS:
                raise
        else:
            return


def _ours(forge: Forge, number: int, mark: str) -> list[Comment]:
    return [comment for comment in forge.comments(number) if comment.body.startswith(mark)]
