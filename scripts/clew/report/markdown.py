"""The report as GitHub Flavored Markdown: what is most important first, and never too long.

A `Name` is written as HTML code of entities, so that no character of it can be Markdown, HTML, a
link, a mention or a table's border; forges leave mentions and issue numbers in code alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from html import escape
from typing import Any

from clew.report import mermaid
from clew.report.content import document
from clew.report.document import (
    Block,
    Chart,
    Command,
    Flow,
    Inline,
    Line,
    Link,
    Name,
    Paragraph,
    Section,
    Strong,
    Table,
    spelt,
)
from clew.report.facts import Report

CHARACTERS = 65_000  # GitHub takes 65,536 in a comment
ROWS = 20  # of a table
NAME_CHARACTERS = 80
MESSAGE_CHARACTERS = 400
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -")
WORDS = PLAIN | frozenset(".,;:'()%+=/±−→↑↓✅❌⚠\ufe0f")  # noqa: RUF001
ADDRESS = re.compile(r"(?i)www\.|:(?=/)")  # what a forge makes a link of without being asked
CALLS = frozenset("@#")  # mentions and issue numbers, which forges find in the finished page


def markdown(report: Report, limit: int = CHARACTERS) -> str:
    """Return the report, with the least important sections left out where it would be too long."""
    whole = document(report)
    head = [f"<!-- {_comment(whole.marker)} -->", f"## {whole.mark} {_words(whole.title)}", ""]
    head += [f"{block(one)}\n" for one in whole.lead]
    texts = {section: _section(section) for section in whole.sections}
    kept = set(whole.sections)
    text = _joined(head, texts, kept, whole.whole)
    if len(text) <= limit:
        return text
    kept.clear()
    for section in sorted(texts, key=lambda one: one.rank):
        if len(_joined(head, texts, kept | {section}, whole.whole)) <= limit:
            kept.add(section)
    return _joined(head, texts, kept, whole.whole)


def _joined(
    head: Sequence[str], texts: Mapping[Section, str], kept: Set[Section], whole: Line
) -> str:
    cut = [section for section in texts if section not in kept]
    return "\n".join([*head, *(texts[one] for one in texts if one in kept), *_left_out(cut, whole)])


def _comment(marker: str) -> str:
    """Return a text that can't end an HTML comment; pipelines are named `[a-z0-9-]`."""
    return re.sub(r"[^A-Za-z0-9 :._-]|--", "", marker)


def _left_out(cut: Sequence[Section], where: Line) -> list[str]:
    if not cut:
        return []
    names = ", ".join(section.title for section in cut)
    return [f"Left out for their length: {_words(names)}. All of it is in {_line(where)}.\n"]


def _section(section: Section) -> str:
    body = "\n\n".join(block(one) for one in section.blocks)
    if not section.folded:
        return f"### {_words(section.title)}\n\n{body}\n"
    summary = f"<details><summary>{escape(section.title)}</summary>"
    return f"{summary}\n\n{body}\n\n</details>\n"


def block(one: Block) -> str:
    """Return one block."""
    match one:
        case Paragraph():
            return _line(one.line)
        case Table():
            return _table(one)
        case Chart():
            return _fenced("mermaid", mermaid.chart(one))
        case Flow():
            return f"{_words(one.title)}:\n\n{_fenced('mermaid', mermaid.flow(one))}"
        case Command():
            return _fenced("sh", one.text)


def _fenced(kind: str, text: str) -> str:
    return f"```{kind}\n{text}\n```"


def _line(line: Line) -> str:
    return "".join(map(_inline, line))


def _inline(part: Inline) -> str:
    match part:
        case Name():
            return code(part.text, MESSAGE_CHARACTERS if part.is_message else NAME_CHARACTERS)
        case Strong():
            return f"**{_words(part.text)}**"
        case Link():
            shown = code(part.name.text)
            return f"[{shown}]({part.url})" if part.url else shown
    return _words(part)


def code(text: str, most: int = NAME_CHARACTERS) -> str:
    """Return any text as code: entities are never syntax, and code is never a mention or link."""
    return f"<code>{_entities(spelt(text, most), PLAIN)}</code>"


def _words(text: str) -> str:
    """Return clew's own words; were there a name in them, it could do nothing either."""
    parts = ADDRESS.split(text)
    found: list[str] = [_coded(one.group()) for one in ADDRESS.finditer(text)] + [""]
    safe = (_entities(part, WORDS) for part in parts)
    return "".join(a + b for a, b in zip(safe, found, strict=True))


def _coded(text: str) -> str:
    return f"<code>{_entities(text, frozenset())}</code>"


def _entities(text: str, allowed: frozenset[str]) -> str:
    shown: Callable[[str], Any] = _call if allowed is WORDS else _entity
    return "".join(c if c in allowed else shown(c) for c in text)


def _entity(character: str) -> str:
    return f"&#{ord(character)};"


def _call(character: str) -> str:
    return _coded(character) if character in CALLS else _entity(character)


def _table(table: Table) -> str:
    lines = [_row([_words(column.title) for column in table.columns])]
    lines.append("|" + "".join("---:|" if one.is_number else "---|" for one in table.columns))
    lines += [_row([_line(cell) for cell in row]) for row in table.rows[:ROWS]]
    more = len(table.rows) - ROWS
    return "\n".join(lines) + (f"\n\nAnd {more:,} more." if more > 0 else "")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
