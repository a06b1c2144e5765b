"""Plots as SVG for the page: no script, no request, colours by the page's style sheet."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from clew.report.document import Chart, Series, spelt

WIDTH, PLOT = 500, 180  # user units: of the whole, and of the height between the axes
LEFT, RIGHT, TOP = 60, 10, 10  # room for the axes' labels
STRAIGHT, TURNED = 26, 92  # and below, where they fit beside each other and where they don't
BESIDE = 44  # characters of all labels that fit
LABEL_CHARACTERS = 24
TICKS = 4


def chart(one: Chart) -> str:
    """Return the chart as one image: the page's tables have its values as text."""
    title = escape(spelt(one.title, 200))
    parts = [*_grid(one), *(text for series in one.series for text in _series(one, series))]
    parts += _categories(one)
    body = "".join(parts)
    figure = (
        f'<svg viewBox="0 0 {WIDTH} {TOP + PLOT + _below(one)}" role="img" aria-label="{title}">'
        f"<title>{title}</title>{body}</svg>"
    )
    return f"<figure><figcaption>{title}{_legend(one)}</figcaption>{figure}</figure>"


def _legend(one: Chart) -> str:
    if len(one.series) < 2:
        return ""
    keys = (
        f'<span class="key {_kind(series)}"></span>{escape(series.name)}' for series in one.series
    )
    return f" <small>{' '.join(keys)}</small>"


def _kind(series: Series) -> str:
    return "line" if series.line else "bar"


def _x(one: Chart, at: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (at + 0.5) / len(one.categories)


def _y(one: Chart, value: float) -> float:
    share = (value - one.low) / (one.high - one.low)
    return TOP + PLOT * (1 - min(max(share, 0.0), 1.0))


def _grid(one: Chart) -> Iterator[str]:
    for tick in range(TICKS + 1):
        value = one.low + (one.high - one.low) * tick / TICKS
        y = _y(one, value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        shown = f"{value:.3g}"
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>'


def _series(one: Chart, series: Series) -> Iterator[str]:
    points = [(_x(one, at), _y(one, value)) for at, value in enumerate(series.values)]
    if series.line:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline class="line" points="{path}"/>'
        yield from (f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in points)
        return
    wide = (WIDTH - LEFT - RIGHT) / len(points) * 0.6
    floor = _y(one, one.low)
    for x, y in points:
        size = f'width="{wide:.1f}" height="{floor - y:.1f}"'
        yield f'<rect class="bar" x="{x - wide / 2:.1f}" y="{y:.1f}" {size}/>'


def _below(one: Chart) -> int:
    fits = sum(len(name) + 2 for name in one.categories) <= BESIDE
    return STRAIGHT if fits else TURNED


def _categories(one: Chart) -> Iterator[str]:
    y = TOP + PLOT + 16
    for at, name in enumerate(one.categories):
        x = f"{_x(one, at):.1f}"
        turned = f'transform="rotate(-40 {x} {y})" text-anchor="end"'
        place = 'text-anchor="middle"' if _below(one) == STRAIGHT else turned
        yield f'<text x="{x}" y="{y}" {place}>{escape(spelt(name, LABEL_CHARACTERS))}</text>'
