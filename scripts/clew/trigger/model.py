"""One typed trigger, whatever CI system it came from."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from enum import StrEnum

from clew.errors import ConfigError
from clew.identity import CommitSha

SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
NO_COMMIT = re.compile(r"0+")  # how Git's hooks and forges say that a branch is new, or gone
# What can be a branch: no option, no character that Git refuses or a terminal acts on.
# https://git-scm.com/docs/git-check-ref-format
BRANCH = re.compile(
    r"(?![-/.])(?!.*(\.\.|@\{|//|/\.|\.lock$|[/.]$))[^\0- \x7f-\x9f~^:?*\[\\]{1,255}"
)


class Kind(StrEnum):
    """Why clew was started; the value of the tag `clew.trigger`."""

    PUSH = "push"
    PULL_REQUEST = "pull_request"
    DISPATCH = "dispatch"
    SCHEDULE = "schedule"
    NONE = "none"  # an event that asks for nothing, such as a deleted branch


@dataclass(frozen=True)
class PullRequest:
    """A proposed change, as the event describes it."""

    number: int
    base_branch: str
    head_branch: str
    fork: bool | None  # None: nobody said
    head: CommitSha | None = field(default=None, compare=False)  # it moves on: no part of who it is


@dataclass(frozen=True)
class Inputs:
    """What somebody who asks for a retraining can ask for."""

    ref: str = ""  # a branch, tag, commit or data version; empty: the branch of the event
    params: tuple[str, ...] = ()  # train.lr=0.1
    executor: str = ""
    instance: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Trigger:
    """Why, for which commit and for whom clew was started."""

    kind: Kind
    commit: CommitSha | None = None  # never the temporary merge commit of a pull request
    branch: str | None = None
    before: CommitSha | None = None  # where the branch was before a push
    pull_request: PullRequest | None = None
    actor: str = ""
    inputs: Inputs = field(default_factory=Inputs)
    why_nothing: str = ""  # of Kind.NONE


def nothing(why: str) -> Trigger:
    return Trigger(Kind.NONE, why_nothing=why)


def sha(text: object, source: str) -> CommitSha | None:
    """Return a full SHA; None for Git's null one, ConfigError for anything else."""
    found = str(text or "")
    if not found or NO_COMMIT.fullmatch(found):
        return None
    if not SHA.fullmatch(found):
        raise ConfigError(f"{source} is no full commit SHA: {found[:80]!r}", fix=BROKEN)
    return CommitSha(found)


def branch_name(text: object, source: str) -> str:
    """Return a branch's name; ConfigError for what Git would not take as one."""
    found = str(text or "").removeprefix("refs/heads/")
    if not BRANCH.fullmatch(found):
        raise ConfigError(f"{source} is no name of a branch: {found[:80]!r}", fix=BROKEN)
    return found


def number(text: object, source: str) -> int:
    """Return the number of a pull request."""
    found = str(text or "")
    if not (found.isascii() and found.isdigit()):
        raise ConfigError(f"{source} is no number: {found[:80]!r}", fix=BROKEN)
    return int(found)


def overrides(text: object) -> tuple[str, ...]:
    """Return `train.lr=0.1 train.epochs=3` one by one, as a shell would part them."""
    try:
        return tuple(shlex.split(str(text or "")))
    except ValueError as error:
        raise ConfigError(
            f"params can't be read: {error}", fix="Write KEY=VALUE KEY=VALUE."
        ) from None


BROKEN = "Start clew from the CI system's own event, or run `clew run` by hand."
