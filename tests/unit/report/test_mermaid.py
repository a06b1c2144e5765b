"""Mermaid as text: whatever a name is, the plot keeps its shape. The library draws it elsewhere."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from clew.report.document import Box, Chart, Flow, Series
from clew.report.mermaid import BESIDE, chart, flow, label

NUMBERS = st.floats(min_value=-1e12, max_value=1e12)


def plot(name: str, value: float = 1.0) -> str:
    return chart(Chart(name, (name, name), (Series(name, (value, 2.0)),), 0.0, 3.0))


@given(st.text(max_size=BESIDE // 12))  # spelt out, a character can take ten
def test_any_name_in_a_chart_stays_one_quoted_string(name: str) -> None:
    lines, honest = plot(name).splitlines(), plot("honest").splitlines()
    assert len(lines) == len(honest)
    for line, other in zip(lines[1:], honest[1:], strict=True):
        assert re.sub(r'"[^"]*"', '""', line) == re.sub(r'"[^"]*"', '""', other)


@given(st.text())
def test_no_label_has_what_mermaid_reads(name: str) -> None:
    assert re.fullmatch(r'"[^"<>#;%&`\\\\\n]*"', label(name))


@given(st.text())
def test_any_name_in_a_chain_stays_in_its_box(name: str) -> None:
    lines = flow(Flow(name, ((Box((name, name), changed=True),), (Box(("end",)),)))).splitlines()
    assert lines[0] == "flowchart TD"
    assert re.fullmatch(r'  n0_0\["(?:[\w .,:-]|#\d+;|<br/>)*"\]', lines[1])
    assert lines[2:] == [
        '  n1_0["end"]',
        "  n0_0 --> n1_0",
        "  classDef changed stroke-width:4px",
        "  class n0_0 changed",
    ]


@given(NUMBERS)
def test_numbers_have_no_exponent(value: float) -> None:
    found = re.search(r"bar \[(.*)\]", plot("n", value))
    assert found
    assert all(re.fullmatch(r"-?\d+(\.\d+)?", one) for one in found[1].split(", "))
