"""Plots by the real Mermaid library in Chromium: every one is drawn, whatever names are in it."""

from __future__ import annotations

import html
import re

import pytest

from clew.report import mermaid
from clew.report.document import Box, Chart, Flow, Series, spelt
from clew.report.markdown import markdown
from clew.report.plots import MOST_CATEGORIES
from tests.browser import drawing
from tests.unit.report.situations import HOSTILE, SITUATIONS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(drawing.missing()), reason=drawing.missing()),
]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_plot_of_a_report_is_drawn(situation: str) -> None:
    text = markdown(SITUATIONS[situation])
    page = drawing.dom(drawing.forge_page(text))
    assert drawing.errors(page) == []
    assert 'data-done="drawn"' in page
    assert len(re.findall(r'<svg [^>]*id="drawn', page)) == text.count("```mermaid")


def drawn(*plots: str) -> str:
    """Return the page with these plots drawn, without its first part: the forge's own style."""
    text = "\n".join(f"```mermaid\n{plot}\n```\n" for plot in plots)
    page = drawing.dom(drawing.forge_page(text))
    assert drawing.errors(page) == []
    return html.unescape(page[page.index('<figure class="drawn"') : page.index("<script")])


def test_hostile_names_of_a_chain_are_drawn_as_they_are() -> None:
    found = drawn(mermaid.flow(Flow("t", tuple((Box((name,)),) for name in HOSTILE))))
    for name in HOSTILE:
        assert spelt(name, mermaid.LABEL_CHARACTERS) in found


def test_hostile_names_in_a_chart_end_no_string() -> None:
    series = (Series("head", tuple(map(float, range(len(HOSTILE))))),)
    found = drawn(mermaid.chart(Chart("a <b>", HOSTILE, series, 0.0, 12.0)))
    assert "a ·b·" in found
    assert "·img src=x onerror=aler…" in found
    assert found.count("<svg") == 1
    assert "<img" not in found


def test_the_most_that_a_chart_shows_is_drawn_with_all_labels() -> None:
    names = tuple(f"class_{number}_{'x' * 40}" for number in range(MOST_CATEGORIES))
    series = (Series("head", (1.0,) * len(names)), Series("base", (2.0,) * len(names), line=True))
    found = drawn(mermaid.chart(Chart("t", names, series, 0.0, 3.0)))
    assert all(spelt(name, mermaid.LABEL_CHARACTERS) in found for name in names)
