"""The whole report in each situation, as it was looked at; `situations.py` writes them anew."""

from __future__ import annotations

import pytest

from clew.report.markdown import markdown
from tests.unit.report.situations import GOLDEN, SITUATIONS


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_report_is_as_it_was_looked_at(situation: str) -> None:
    expected = (GOLDEN / f"{situation}.md").read_text()
    assert markdown(SITUATIONS[situation]) == expected


def test_every_golden_file_has_its_situation() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == SITUATIONS.keys()
