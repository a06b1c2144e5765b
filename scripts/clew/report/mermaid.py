"""Plots as Mermaid, which GitHub and GitLab draw by themselves.

No character of a name ends a string, starts a directive or is HTML: in a flowchart it becomes one
of Mermaid's entities, in a chart a dot. The names as they are stand in the tables.
https://mermaid.js.org/syntax/flowchart.html#entity-codes-to-escape-characters
"""

from __future__ import annotations

import itertools

from clew.report.document import Chart, Flow, Series, spelt

LABEL_CHARACTERS = 24
PLAIN = " .,:-_/+=()@|'…"  # besides letters and digits
DOT = "·"
BESIDE = 60  # characters of all categories that fit beside each other; else below each other
COLOURS = "#4c8dd6, #d9822b"  # bars and line: seen on white as on black
SETTINGS = (
    '%%{init: {"xyChart": {"width": 700, "height": 320}, "themeVariables": {"xyChart": '
    f'{{"backgroundColor": "transparent", "plotColorPalette": "{COLOURS}"}}}}}}}}%%'
)


def chart(one: Chart) -> str:
    """Return an `xychart-beta`; bars come first, so that lines are drawn above them."""
    kinds = [_series(series) for series in sorted(one.series, key=lambda row: row.line)]
    names = ", ".join(label(name) for name in one.categories)
    way = "" if sum(map(len, one.categories)) <= BESIDE else " horizontal"
    lines = [f"xychart-beta{way}", f"  title {label(_title(one), 80)}", f"  x-axis [{names}]"]
    lines.append(f"  y-axis {_number(one.low)} --> {_number(one.high)}")
    return "\n".join([SETTINGS, *lines, *(f"  {kind}" for kind in kinds)])


def _title(one: Chart) -> str:
    """Return the title with what stands for which series: an `xychart` has no legend."""
    if len(one.series) < 2:
        return one.title
    shown = ", ".join(f"{row.name} as {'line' if row.line else 'bars'}" for row in one.series)
    return f"{one.title}: {shown}"


def _series(series: Series) -> str:
    values = ", ".join(_number(value) for value in series.values)
    return f"{'line' if series.line else 'bar'} [{values}]"


def _number(value: float) -> str:
    """Return a number without an exponent, which an `xychart` does not know."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def flow(one: Flow) -> str:
    """Return a `flowchart` from top to bottom: also a narrow screen shows it large enough."""
    lines = ["flowchart TD"]
    ids = [[f"n{row}_{at}" for at in range(len(layer))] for row, layer in enumerate(one.layers)]
    for names, layer in zip(ids, one.layers, strict=True):
        for name, box in zip(names, layer, strict=True):
            text = "<br/>".join(_escaped(line, LABEL_CHARACTERS) for line in box.lines)
            lines.append(f'  {name}["{text}"]')
    for upper, lower in itertools.pairwise(ids):
        lines.append(f"  {' & '.join(upper)} --> {' & '.join(lower)}")
    boxes = zip(itertools.chain(*ids), itertools.chain(*one.layers), strict=True)
    if changed := [name for name, box in boxes if box.changed]:
        lines += ["  classDef changed stroke-width:4px", f"  class {','.join(changed)} changed"]
    return "\n".join(lines)


def label(text: str, most: int = LABEL_CHARACTERS) -> str:
    """Return any text as a quoted string of an `xychart`, with a dot for what could end it.

    Entities would do, but are measured as they are written, and what seems too wide is left out.
    """
    safe = (c if c.isalnum() or c in PLAIN else DOT for c in spelt(text, most))
    return f'"{"".join(safe)}"'


def _escaped(text: str, most: int) -> str:
    """Return any text for a `flowchart`, whose labels are HTML."""
    safe = (c if c.isalnum() or c in " .,:-" else f"#{ord(c)};" for c in spelt(text, most))
    return "".join(safe)
