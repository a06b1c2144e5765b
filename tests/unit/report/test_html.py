"""The page: whole, readable without colours or sight, and asking nobody for anything."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from clew.report.content import document
from clew.report.document import Name, Paragraph, Strong, Table
from clew.report.html import html
from clew.report.markdown import markdown
from tests.unit.report.situations import SITUATIONS

VOID = {"meta", "line", "circle", "rect", "polyline"}


class Balance(HTMLParser):
    """Holds every end tag against the start tag that it ends, and keeps what is in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_tag_is_closed_in_its_turn(situation: str) -> None:
    assert Balance(html(SITUATIONS[situation])).open == []


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_page_loads_nothing_and_runs_nothing(situation: str) -> None:
    page = html(SITUATIONS[situation])
    assert "default-src 'none'" in page
    assert not re.search(r"url\(|@import", page)
    found = Balance(page)
    loading = {"script", "link", "img", "image", "use", "iframe", "object", "embed", "form", "base"}
    assert not found.tags & loading
    assert not [name for name in found.attributes if name == "src" or name.startswith("on")]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_tables_and_plots_can_be_read_aloud(situation: str) -> None:
    page = html(SITUATIONS[situation])
    assert not re.search(r"<th(?! scope=)", page.replace("<thead", ""))
    assert page.count("<svg") == page.count('role="img" aria-label="')
    assert page.startswith('<!doctype html>\n<html lang="en">')


@pytest.mark.parametrize("situation", SITUATIONS)
def test_markdown_and_html_say_the_same(situation: str) -> None:
    """Both are written from one document: every sentence of it is in both."""
    report = SITUATIONS[situation]
    page = re.sub(r"&[#\w]+;|[^\w ]", "", html(report))
    text = re.sub(r"&#\d+;|[^\w ]", "", markdown(report, limit=10_000_000))
    for section in document(report).sections:
        for block in section.blocks:
            if isinstance(block, Paragraph):
                parts = block.line
            elif isinstance(block, Table):
                parts = tuple(column.title for column in block.columns)
            else:
                continue
            words = [one.text if isinstance(one, Strong) else one for one in parts]
            plain = (one for one in words if isinstance(one, str) and one.isascii())
            for one in plain:
                word = re.sub(r"[^\w ]", "", one)
                assert word in page
                assert word in text


def test_a_name_is_kept_longer_than_in_markdown() -> None:
    report = SITUATIONS["huge"]
    assert Name(report.params[0].name).text[:250].replace("<", "&lt;") in html(report)
