"""What a reviewer sees: hostile names change nothing else, and no report is too long."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from clew.config.model import Direction
from clew.evaluate import Evaluation
from clew.identity import CommitSha
from clew.report.document import spelt
from clew.report.facts import MetricRow, Report, Side
from clew.report.html import html
from clew.report.markdown import CHARACTERS, NAME_CHARACTERS, code, markdown
from clew.report.words import STATUS_CHARACTERS, verdict
from tests.unit.report.situations import HOSTILE, SITUATIONS, hostile, trained

HEAD = SITUATIONS["worse"].head
BARE = Report("p", Side(CommitSha("a" * 40), None), Side(CommitSha("b" * 40), None))


class Page(HTMLParser):
    """The tags, their attributes, the text of each code element, and all other text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.codes: list[str] = []
        self.text = ""
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._inside = tag == "code"
        if self._inside:
            self.codes.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.codes[-1] += data
        else:
            self.text += data


def rendered(text: str) -> Page:
    return Page(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_a_name(name: str) -> None:
    honest = rendered(markdown(hostile("an honest name")))
    found = rendered(markdown(hostile(name)))
    assert found.tags == honest.tags
    assert found.attributes == honest.attributes
    shown = found.codes.count(spelt(name, NAME_CHARACTERS))
    assert shown == honest.codes.count("an honest name") > 10
    assert re.sub(r"\s+", " ", found.text) == re.sub(r"\s+", " ", honest.text)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_a_name_in_html_too(name: str) -> None:
    honest, found = Page(html(hostile("an honest name"))), Page(html(hostile(name)))
    assert found.tags == honest.tags
    assert leads_to(found) == leads_to(honest)
    assert not [name for name, _ in found.attributes if name.startswith("on")]


def leads_to(page: Page) -> list[tuple[str, str | None]]:
    return [one for one in page.attributes if one[0] in ("href", "src", "style", "content")]


@given(st.text(max_size=NAME_CHARACTERS // 10))
def test_any_text_as_code_is_shown_as_it_is(text: str) -> None:
    shown = rendered(f"| a |\n|---|\n| {code(text)} |")
    assert set(shown.tags) == {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert shown.codes == [spelt(text, NAME_CHARACTERS)]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_nothing_outside_code_is_a_mention_a_reference_or_an_address(situation: str) -> None:
    shown = rendered(markdown(SITUATIONS[situation]))
    assert not re.search(r"[@#]|www\.|://", shown.text)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_links_lead_only_where_the_configuration_says(situation: str) -> None:
    shown = rendered(markdown(SITUATIONS[situation]))
    targets = [value or "" for name, value in shown.attributes if name == "href"]
    trusted = ("https://github.com/acme/shoes/", "https://mlflow.acme.example/#/")
    console = "https://eu-west-1.console.aws.amazon.com/sagemaker/"
    assert targets
    assert all(target.startswith((*trusted, console)) for target in targets)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_report_is_found_again_by_its_first_line(situation: str) -> None:
    assert markdown(SITUATIONS[situation]).splitlines()[0] == "<!-- clew report: shoes -->"


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_verdict_fits_a_commit_status(situation: str) -> None:
    text = verdict(SITUATIONS[situation])
    assert 0 < len(text) <= STATUS_CHARACTERS
    assert text.isprintable()
    assert SITUATIONS[situation].as_json()["verdict"] == text


def test_what_is_least_important_is_left_out_first() -> None:
    report = SITUATIONS["huge"]
    text = markdown(report)
    assert len(text) <= CHARACTERS
    assert "And 1,980 more." in text
    assert "### Metrics" in text
    assert "<summary>Lineage</summary>" in text
    assert "<code>clew report --format html</code>" in text.splitlines()[-1]
    short = markdown(report, limit=2_500)
    assert len(short) <= 2_500
    assert "### Metrics" in short
    assert re.search(r"Left out for their length: Data, .*Plots.*\. All of it is in", short)
    assert "metric 1999" in html(report)


@given(st.integers(min_value=2_000, max_value=CHARACTERS))
def test_no_limit_is_passed(limit: int) -> None:
    assert len(markdown(SITUATIONS["better"], limit=limit)) <= limit


@pytest.mark.parametrize(
    ("base", "head", "direction", "words"),
    [
        (0.5, 0.6, "higher", "better than the base"),
        (0.6, 0.5, "higher", "worse than the base"),
        (0.6, 0.5, "lower", "better than the base"),
        (0.5, 0.5, "higher", "equal to the base"),
        (None, 0.5, "higher", "nothing to compare with"),
    ],
)
def test_the_first_line_says_what_came_of_it(
    base: float | None, head: float, direction: Direction, words: str
) -> None:
    metric = MetricRow("m", base, head, direction)
    report = replace(BARE, head=HEAD, metrics=(metric,), evaluation=Evaluation((), None))
    assert verdict(report) == f"gates passed; {words}; trained in 25 min 12 s"


def test_cost_and_time_are_in_the_first_line() -> None:
    assert verdict(trained({"accuracy": 0.8})).endswith("; cost $0.23; trained in 25 min 12 s")
    planned = replace(BARE, cost="at most $1.20 (1 x ml.m5.large)")
    assert verdict(planned) == f"no model of {'b' * 12} to judge; training it: {planned.cost}"


def test_a_refused_gate_is_marked() -> None:
    text = markdown(SITUATIONS["refused"])
    assert "## ❌ clew: 1 of 2 gates refused; worse than the base" in text
    assert "❌ max regression 0.02" in text
    assert "**worse**" in text


def test_words_of_our_own_can_do_nothing_either() -> None:
    report = replace(trained({"accuracy": 0.8}), cost="@all #1 www.x.org https://x.org")
    shown = rendered(markdown(report))
    assert not re.search(r"[@#]|www\.|://", shown.text)
    assert "a" not in rendered(markdown(replace(BARE, cost=report.cost))).tags
