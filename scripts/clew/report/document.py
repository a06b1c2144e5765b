"""A report as a document that knows no format: Markdown and HTML are two ways to write the same.

Text comes in two kinds. A `str` is clew's own words and numbers. A `Name` came from data, code,
metrics or an error, so nobody here vouches for it: each writer shows it as code, in which no
character means anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Name:
    """A text that nobody vouches for."""

    text: str
    is_message: bool = False  # a sentence, which is worth more room than a name


@dataclass(frozen=True)
class Strong:
    text: str


@dataclass(frozen=True)
class Link:
    """A name with a web address of `links`; an empty address is no link."""

    url: str
    name: Name


Inline = str | Name | Strong | Link
Line = tuple[Inline, ...]


@dataclass(frozen=True)
class Paragraph:
    line: Line


@dataclass(frozen=True)
class Column:
    title: str
    is_number: bool = False  # written to the right


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[tuple[Line, ...], ...]


@dataclass(frozen=True)
class Series:
    name: str
    values: tuple[float, ...]
    line: bool = False  # drawn as a line, else as bars


@dataclass(frozen=True)
class Chart:
    """Values by category; titles and categories may be names."""

    title: str
    categories: tuple[str, ...]
    series: tuple[Series, ...]
    low: float
    high: float


@dataclass(frozen=True)
class Box:
    """One step of a chain, in lines; `changed` says that it differs between base and head."""

    lines: tuple[str, ...]
    changed: bool = False


@dataclass(frozen=True)
class Flow:
    """Layers of boxes: every box of a layer leads to every box of the next."""

    title: str
    layers: tuple[tuple[Box, ...], ...]


@dataclass(frozen=True)
class Command:
    """A line for a terminal, of clew's own words and hexadecimal ids."""

    text: str


Block = Paragraph | Table | Chart | Flow | Command


@dataclass(frozen=True)
class Section:
    title: str
    blocks: tuple[Block, ...]
    folded: bool = False
    rank: int = 0  # where there is too much, the highest goes first


@dataclass(frozen=True)
class Document:
    marker: str  # by which a comment is found again
    mark: str  # an emoji that says how it ended
    title: str
    lead: tuple[Block, ...]  # what a reviewer reads first
    sections: tuple[Section, ...]
    whole: Line  # where all of it is, for when something is left out


def spelt(text: str, most: int) -> str:
    """Return a name as it can be shown: what can't be seen is spelt out, what is long is cut."""
    seen = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    shown = "".join(seen)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def plain(line: Sequence[Inline], most: int) -> str:
    """Return a line as text of one line, for where there is no markup at all."""
    words = (
        part if isinstance(part, str) else part.name.text if isinstance(part, Link) else part.text
        for part in line
    )
    return spelt("".join(words), most)
