"""How the files in a repository differ from what would be written, and what may be replaced."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from clew.errors import ConfigError
from clew.init.workflows import is_unmodified, pipeline_of


class State(StrEnum):
    """What is there now, beside what this version would write."""

    SAME = "same"
    MISSING = "missing"
    OLDER = "older"  # as another version of clew, or other answers, had it written
    CHANGED = "changed"  # by hand, or it was never clew's
    KEPT = "kept"  # yours: pipeline.yaml, once it is there
    SETTING = "setting"  # one line is missing in a file that is yours


SAFE = (State.MISSING, State.OLDER, State.SETTING)  # what is replaced without --force


@dataclass(frozen=True)
class Difference:
    path: str  # relative to the top of the repository
    state: State
    before: str | None
    after: str

    @property
    def differs(self) -> bool:
        return self.state not in (State.SAME, State.KEPT)

    @property
    def diff(self) -> str:
        """The unified diff from what is there to what would be written."""
        if not self.differs:
            return ""
        old = "/dev/null" if self.before is None else f"a/{self.path}"
        rows = difflib.unified_diff(
            (self.before or "").splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            old,
            f"b/{self.path}",
        )
        return "".join(row if row.endswith("\n") else f"{row}\n" for row in rows)

    def as_json(self) -> dict[str, Any]:
        return {"path": self.path, "state": self.state.value, "diff": self.diff}


def compare(top: Path, wanted: Mapping[str, str]) -> list[Difference]:
    """Return each file's difference; ConfigError for what can't be read or written there."""
    return [_compared(top, path, text) for path, text in wanted.items()]


def _compared(top: Path, path: str, after: str) -> Difference:
    before = read(top, path)
    if before is None:
        state = State.MISSING
    elif before == after:
        state = State.SAME
    elif is_unmodified(before) and pipeline_of(before) == pipeline_of(after):
        state = State.OLDER
    else:
        state = State.CHANGED
    return Difference(path, state, before, after)


def read(top: Path, path: str) -> str | None:
    """Return the text of a file, None when there is none.

    ConfigError for what is no text file, or leads out of the repository by a link.
    """
    file = top / path
    if not file.resolve().is_relative_to(top.resolve()):
        raise ConfigError(f"{path} leads out of the repository", fix="Remove the link.")
    try:
        return file.read_bytes().decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} can't be read: {error}", fix="Move it out of the way, then run again."
        ) from error


def write(top: Path, differences: Iterable[Difference]) -> None:
    """Write the files: all aside first, then each into its place by one rename."""
    staged: list[tuple[Path, Path]] = []
    try:
        for one in differences:
            target = (top / one.path).resolve()
            target.parent.mkdir(parents=True, exist_ok=True)
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
            number, name = tempfile.mkstemp(prefix=".clew-", dir=target.parent)
            staged.append((Path(name), target))
            with os.fdopen(number, "w", newline="") as file:
                file.write(one.after)
            Path(name).chmod(mode)
        for aside, target in staged:
            aside.replace(target)
    finally:
        for aside, _target in staged:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
