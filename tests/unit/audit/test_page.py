"""The audit page: what is shown of an answer, and that nothing in it can do anything."""

from __future__ import annotations

from clew.audit.answer import FAIL, PASS, Evidence
from clew.audit.page import subject_page
from clew.audit.subject import Appearance, Holder, Subject
from clew.records.tokens import Token
from clew.report.html import page

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
AT = "2026-03-01T12:00:00+01:00"


def answer(count: int, name: str) -> Subject:
    token = Token("a" * 64)
    versions = tuple(
        Appearance(f"data/{n}", "c" * 40, "d" * 64, AT, n, (name,)) for n in range(count)
    )
    models = tuple(
        Holder(f"models:/{name}/{n}", f"data/{n}", AT, (f"alias {name}",)) for n in range(count)
    )
    evidence = (Evidence(name, FAIL, name, name), Evidence("m", PASS, "found", "there"))
    return Subject(token, FAIL, False, "e" * 40, versions, models, evidence)


def test_the_page_runs_nothing_that_a_name_says() -> None:
    text = page(subject_page(answer(2, HOSTILE), HOSTILE, HOSTILE))
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text


def test_what_is_not_drawn_is_counted_and_all_of_it_is_listed() -> None:
    text = page(subject_page(answer(8, "x"), "t", "now"))
    drawn, listed = text.split("<h2>Models</h2>")
    assert drawn.count("3 earlier") == 2
    assert "data/2" not in drawn
    assert all(f"models:/x/{n}<" in listed for n in range(8))
    assert "1 record in x" in page(subject_page(answer(2, "x"), "t", "now"))


def test_times_are_utc_and_say_so() -> None:
    assert "2026-03-01 11:00:00 UTC" in page(subject_page(answer(1, "x"), "t", "now"))
