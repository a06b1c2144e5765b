"""What a reviewer sees: hostile names change nothing else, and no report is too long."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from clew.evaluate import Evaluation, GateResult
from clew.identity import CommitSha
from clew.report.compare import Change, MetricRow, Report, Side
from clew.report.data_diff import ClassChange, DataDiff
from clew.report.markdown import CHARACTERS, NAME_CHARACTERS, code, markdown
from clew.report.significance import difference

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "| | |",
    "@everyone",
    "](javascript:alert(1))",
    "`</code><script>",
    "#1 and https://example.org and www.example.org",
    "two\n\nlines\r\n| --- |",
    "&lt;b&gt; **bold** _x_ ~~y~~ <!-- ",
]
BASE = Side(CommitSha("a" * 40), None, missing="it was not trained")
HEAD = Side(CommitSha("b" * 40), None)
EMPTY = Report("p", BASE, HEAD, "no model", (), None, None, "", (), (), ())


def diff(split: str, label: str, classes: int = 1) -> DataDiff:
    rows = tuple(
        ClassChange(split, f"{label}{n}" if n else label, 1, 0, 0, 1) for n in range(classes)
    )
    folders = ((f"data/{label}", 1),)
    return DataDiff(rows, "record", classes, 1, 1, (label,), (), 1, 1, 10, 5, folders)


def row(name: str, base: float | None = 0.5, head: float | None = 0.6) -> MetricRow:
    return MetricRow(name, base, head, "higher", None)


class Page(HTMLParser):
    """The tags, their attributes, and the text of each code element."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.codes: list[str] = []
        self._inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        self._inside = tag == "code"
        if self._inside:
            self.codes.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.codes[-1] += data


def page(text: str) -> Page:
    return Page(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


def spelt(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def full(name: str) -> Report:
    gate = GateResult(name, "min", 0.1, 0.6, passed=True)
    return replace(
        EMPTY,
        metrics=(row(name),),
        evaluation=Evaluation((gate,), None),
        data=diff(name, name),
        params=(Change(name, name, [name]),),
        code=(Change(name, None, "1"),),
        parts=("data",),
        base_is=name,
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_a_name(name: str) -> None:
    honest, hostile = page(markdown(full("honest"))), page(markdown(full(name)))
    assert hostile.tags == honest.tags
    assert hostile.attributes == honest.attributes
    assert len(hostile.codes) == len(honest.codes)
    assert hostile.codes.count(spelt(name)) == honest.codes.count("honest")


@given(st.text(max_size=NAME_CHARACTERS // 10))
def test_any_text_as_code_is_shown_as_it_is(text: str) -> None:
    shown = page(f"| a |\n|---|\n| {code(text)} |")
    assert shown.tags == {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert shown.codes == [spelt(text)]


def test_mentions_and_references_stay_inside_code() -> None:
    text = markdown(full("@everyone #1"))
    assert "@" not in text
    assert "#1" not in text.replace("&#1", "")


def test_a_huge_report_is_cut_from_its_end() -> None:
    names = [f"metric {n} {'x' * 70}" for n in range(2_000)]
    report = replace(
        full("m"),
        metrics=tuple(row(name) for name in names),
        data=diff("s" * 80, "l" * 80, classes=2_000),
        params=tuple(Change("p" * 80, "&" * 500, "<" * 500) for _ in range(2_000)),
        code=tuple(Change("&" * 500, None, "1") for _ in range(2_000)),
    )
    text = markdown(report)
    assert len(text) <= CHARACTERS
    assert "And 1,980 more." in text
    short = markdown(report, limit=9_000)
    assert len(short) <= 9_000
    assert "### Metrics" in short
    assert "Left out for its length" in short


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
    base: float | None, head: float, direction: str, words: str
) -> None:
    metric = MetricRow("m", base, head, "lower" if direction == "lower" else "higher", None)
    report = replace(EMPTY, metrics=(metric,), evaluation=Evaluation((), None))
    assert markdown(report).splitlines()[1] == f"## clew: gates passed; {words}"


def test_the_cost_is_in_the_first_line() -> None:
    trained = replace(EMPTY, evaluation=Evaluation((), None), cost="$0.23")
    assert markdown(trained).splitlines()[1].endswith("; cost $0.23")
    planned = replace(EMPTY, cost="at most $1.20 (1 x ml.m5.large)")
    said = f"no model of {'b' * 12} to judge; training it: {planned.cost}"
    assert markdown(planned).splitlines()[1] == f"## clew: {said}"


def test_a_refused_gate_is_marked() -> None:
    gate = GateResult("m", "max_regression", 0.1, 0.6, passed=False, baseline=0.9)
    report = replace(EMPTY, metrics=(row("m"),), evaluation=Evaluation((gate,), "models:/m/1"))
    text = markdown(report)
    assert "## clew: gates refused" in text
    assert "❌ max regression 0.1" in text


@pytest.mark.parametrize(
    ("base", "head", "expected"),
    [
        # Newcombe 1998, table II: method 10 for 56/70 - 48/80 and 9/10 - 3/10
        ((48 / 80, 80.0), (56 / 70, 70.0), (0.0524, 0.3339)),
        ((3 / 10, 10.0), (9 / 10, 10.0), (0.1705, 0.8090)),
    ],
)
def test_the_interval_is_the_published_one(
    base: tuple[float, float], head: tuple[float, float], expected: tuple[float, float]
) -> None:
    found = difference(*base, *head)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(expected, abs=5e-5)
    assert found.significant


@pytest.mark.parametrize(
    "values", [(0.5, None, 0.6, 10.0), (0.5, 10.0, 0.6, 0.0), (1.5, 10.0, 0.6, 10.0)]
)
def test_no_interval_without_shares_of_known_n(
    values: tuple[float, float | None, float, float | None],
) -> None:
    assert difference(*values) is None
