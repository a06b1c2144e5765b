"""The report as one page of HTML that asks nobody for anything: no script, font, image or link in.

It holds what the Markdown leaves out for its length, so it is what a CI job keeps as an artifact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from clew.report import svg
from clew.report.content import document
from clew.report.document import (
    Block,
    Chart,
    Column,
    Command,
    Document,
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

ROWS = 5_000  # of a table; a browser is slow with more
NAME_CHARACTERS = 1_000
LONG_WORD = re.compile(r"\w{40}")  # a hash, which may be broken
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --paper: #fff; --faint: #59636e;
  --edge: #d1d9e0; --shade: #f6f8fa; --link: #0969da; --bar: #4c8dd6; --line: #b35900; }
@media (prefers-color-scheme: dark) { :root { --ink: #f0f6fc; --paper: #0d1117; --faint: #9198a1;
  --edge: #3d444d; --shade: #151b23; --link: #4493f8; --bar: #4c8dd6; --line: #e0913d; } }
body { color: var(--ink); background: var(--paper); font: 16px/1.5 system-ui, sans-serif;
  max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; line-height: 1.3; } h2 { font-size: 1.15rem; margin: 1.6rem 0 .5rem; }
a { color: var(--link); }
code, pre { font: .875em/1.4 ui-monospace, monospace; background: var(--shade);
  border-radius: 4px; padding: .1em .3em; }
pre { padding: .6em .8em; overflow-x: auto; }
details { border: 1px solid var(--edge); border-radius: 6px; margin: .6rem 0; padding: 0 .8rem; }
summary { cursor: pointer; padding: .5rem 0; font-weight: 600; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .5rem 0; }
th, td { border: 1px solid var(--edge); padding: .3rem .6rem; text-align: left;
  overflow-wrap: break-word; }
td code, th code { overflow-wrap: break-word; }
td code.long { overflow-wrap: anywhere; }
th { background: var(--shade); } .number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; } figcaption { color: var(--faint); } svg { width: 100%; height: auto;
  max-width: 640px; }
svg text { fill: var(--ink); font-size: 12px; } .grid { stroke: var(--edge); }
rect.bar { fill: var(--bar); } .dot { fill: var(--line); }
polyline.line { fill: none; stroke: var(--line); stroke-width: 2; }
.key { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 .6em; }
.key.bar { background: var(--bar); } .key.line { background: var(--line); height: .25em;
  vertical-align: middle; }
.chain { list-style: none; margin: .5rem 0; padding: 0; } .chain li { text-align: center; }
.chain li + li::before { content: "↓"; display: block; color: var(--faint); }
.box { display: inline-block; border: 1px solid var(--edge); border-radius: 6px; margin: .2rem;
  padding: .3rem .7rem; font-size: .875rem; } .changed { border: 3px solid var(--bar); }
.box span { display: block; }
@media screen and (max-width: 40rem) {
  table, tbody, tr, th, td { display: block; } thead { display: none; }
  tr { border: 1px solid var(--edge); margin: 0 0 .6rem; } th, td { border: 0; }
  th, td, td code, th code { overflow-wrap: anywhere; } .number { text-align: left; }
  [data-of]::before { content: attr(data-of); display: block; color: var(--faint);
    font-size: .8rem; font-weight: 400; } [data-of=""]::before { display: none; } }
@media print { :root { --ink: #000; --paper: #fff; --faint: #444; --edge: #999; --shade: #f4f4f4; }
  body { max-width: none; font-size: 10pt; } tr, .box, figure { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  details > * { display: block; } a { color: inherit; } .wide { overflow: visible; } }
"""


def html(report: Report) -> str:
    """Return the page: the same document as the Markdown, with longer tables."""
    return page(document(report))


def page(whole: Document) -> str:
    """Return any document as a page of its own."""
    title = escape(f"{whole.mark} {whole.title}")
    body = [f"<h1>{title}</h1>", *map(block, whole.lead), *map(_section, whole.sections)]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{STYLE}</style></head>",
            f"<body><main>{''.join(body)}</main></body></html>",
        ]
    )


def _section(section: Section) -> str:
    body = "".join(map(block, section.blocks))
    if section.folded:
        return f"<details><summary>{escape(section.title)}</summary>{body}</details>"
    return f"<section><h2>{escape(section.title)}</h2>{body}</section>"


def block(one: Block) -> str:
    """Return one block."""
    match one:
        case Paragraph():
            return f"<p>{_line(one.line)}</p>"
        case Table():
            return _table(one)
        case Chart():
            return svg.chart(one)
        case Flow():
            return _flow(one)
        case Command():
            return f"<pre>{escape(one.text)}</pre>"


def _line(line: Line) -> str:
    return "".join(map(_inline, line))


def _inline(part: Inline) -> str:
    match part:
        case Name():
            return _code(part)
        case Strong():
            return f"<strong>{escape(part.text)}</strong>"
        case Link():
            shown = _code(part.name)
            return f'<a href="{escape(part.url)}">{shown}</a>' if part.url else shown
    return escape(part)


def _code(name: Name) -> str:
    shown = escape(spelt(name.text, NAME_CHARACTERS))
    breakable = ' class="long"' if LONG_WORD.search(name.text) else ""
    return f"<code{breakable}>{shown}</code>"


def _table(table: Table) -> str:
    titles = "".join(
        f'<th scope="col"{_class(column)}>{escape(column.title)}</th>' for column in table.columns
    )
    rows = "".join(f"<tr>{''.join(_cells(table, row))}</tr>" for row in table.rows[:ROWS])
    more = len(table.rows) - ROWS
    note = f"<p>And {more:,} more: see clew report --json.</p>" if more > 0 else ""
    head = f"<thead><tr>{titles}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>{rows}</tbody></table></div>{note}'


def _cells(table: Table, row: tuple[Line, ...]) -> Iterator[str]:
    """Yield the cells; the first of a row is what it is about."""
    for number, (column, cell) in enumerate(zip(table.columns, row, strict=True)):
        of = f' data-of="{escape(column.title)}"'
        if number == 0:
            yield f'<th scope="row"{of}>{_line(cell)}</th>'
        else:
            yield f"<td{_class(column)}{of}>{_line(cell)}</td>"


def _class(column: Column) -> str:
    return ' class="number"' if column.is_number else ""


def _flow(flow: Flow) -> str:
    layers = "".join(
        f"<li>{''.join(_box(box.lines, changed=box.changed) for box in layer)}</li>"
        for layer in flow.layers
    )
    return f'<p>{escape(flow.title)}:</p><ol class="chain">{layers}</ol>'


def _box(lines: tuple[str, ...], *, changed: bool) -> str:
    text = "".join(f"<span>{escape(spelt(line, NAME_CHARACTERS))}</span>" for line in lines)
    return f'<span class="box{" changed" if changed else ""}">{text}</span>'
