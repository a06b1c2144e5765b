"""How a mistake in a configuration is told: where, what was found, what is allowed instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clew.errors import ConfigError

Location = tuple[str | int, ...]  # keys and indices from the top of the document

_SHOWN_MISTAKES = 20
_SHOWN_CHARACTERS = 80
_CREDENTIALS = r"(?<=//)\S*@"  # compiled when there is a mistake to tell
_PLAIN_KEY = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"


@dataclass(frozen=True)
class Mistake:
    """One mistake; `where` is what comes before the text, such as `pipeline.yaml:12: $.gates`."""

    where: str
    text: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


@dataclass(frozen=True)
class Places:
    """The lines of a document's keys and items."""

    source: str
    lines: Mapping[Location, int]

    def mistake(self, path: Location, text: str) -> Mistake:
        """Return the mistake at a path, at the line of the nearest parent that has one."""
        line = next(
            (self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines), 1
        )
        return Mistake(f"{self.source}:{line}: {json_path(path)}", text, line)


def refuse(mistakes: Iterable[Mistake]) -> None:
    """Raise one ConfigError that tells all the mistakes, top of the file first."""
    ordered = sorted(dict.fromkeys(mistakes), key=lambda mistake: mistake.line)
    if not ordered:
        return
    told = [str(mistake) for mistake in ordered[:_SHOWN_MISTAKES]]
    if len(ordered) > len(told):
        told.append("… and more")
    raise ConfigError("\n".join(told))


def json_path(path: Location) -> str:
    """Return a path in JSONPath's notation: `$.gates[0].metric`."""
    return "$" + "".join(_step(part) for part in path)


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if re.fullmatch(_PLAIN_KEY, part) else f"[{shown(part)}]"


def shown(value: Any) -> str:
    """Return a value as a message may show it: short, on one line, without credentials."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    text = repr(re.sub(_CREDENTIALS, "***@", value) if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def found(value: Any, allowed: str) -> str:
    """Return the text of a mistake whose allowed values can only be described."""
    return f"found {shown(value)}; allowed: {allowed}"


def found_name(value: Any, allowed: Sequence[str]) -> str:
    """Return the text of a mistake whose allowed values have names, with the nearest one."""
    near = nearest(value, allowed)
    hint = f"; did you mean {near!r}?" if near else ""
    return found(value, ", ".join(allowed) or "none") + hint


def nearest(value: Any, names: Sequence[str]) -> str | None:
    """Return the name that is most like the value, None when none is."""
    from difflib import get_close_matches  # only a mistake needs it; it costs start-up time

    # difflib takes quadratic time, so a text that is far too long is not compared
    if not isinstance(value, str) or len(value) > _SHOWN_CHARACTERS:
        return None
    folded = {name.lower(): name for name in names}
    return next((folded[m] for m in get_close_matches(value.lower(), folded, n=1)), None)
