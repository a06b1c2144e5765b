"""The audit page: what is shown of an answer, and that nothing in it can do anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from clew.audit.answer import FAIL, PASS, UNVERIFIABLE, Evidence, Verdict
from clew.audit.excluded import Counts, Excluded
from clew.audit.page import MARKS, subject_page
from clew.audit.subject import Appearance, Holder, Subject
from clew.records.tokens import Token
from clew.report.html import page

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
AT = "2026-03-01T12:00:00+01:00"


def whole(found: Subject, named: str = "t", **more: Any) -> str:
    return page(subject_page(found, named, "now", **more))


def answer(count: int, name: str, verdict: Verdict = FAIL) -> Subject:
    token = Token("a" * 64)
    versions = tuple(
        Appearance(f"data/{n}", "c" * 40, "d" * 64, AT, n, (name,)) for n in range(count)
    )
    models = tuple(
        Holder(f"models:/{name}/{n}", f"data/{n}", AT, (f"alias {name}",)) for n in range(count)
    )
    evidence = (Evidence(name, FAIL, name, name), Evidence("m", PASS, "found", "there"))
    return Subject(token, verdict, False, "e" * 40, versions, models, evidence)


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


def test_who_is_in_models_is_not_headed_as_passed() -> None:
    """That all could be told is no success: whether the records should be there it does not say."""
    text = whole(replace(answer(2, "x", PASS), evidence=(Evidence("m", PASS, "2 records"),)))
    assert "<h1>📄 Audit of one subject</h1>" in text
    assert "<strong>Complete</strong>" in text
    assert "PASS" not in text
    assert "✅" not in text
    assert "<h1>⚠️" in whole(answer(2, "x", UNVERIFIABLE))


def test_the_page_says_first_last_and_consent() -> None:
    text = whole(answer(3, "x", PASS), consent="revoked since 2026-02-01")
    seen = "(seen 2026-03-01 11:00:00 UTC)"
    assert f"First in <code>data/0</code> {seen}, last in <code>data/2</code> {seen}." in text
    assert "Consent: revoked since 2026-02-01." in text
    assert "First in" not in whole(answer(0, "x", PASS))


@pytest.mark.parametrize("verdict", [PASS, FAIL, UNVERIFIABLE])
def test_the_page_has_the_proof_that_was_asked_for(verdict: Verdict) -> None:
    since = datetime(2026, 2, 1, tzinfo=UTC)
    one = Evidence(HOSTILE, verdict, "its records", "the manifest")
    proof = Excluded(since, verdict, f"because {HOSTILE}", Counts(models=7), (one,), (one,))
    text = whole(answer(2, "x", PASS), proof=proof)
    assert f"<strong>{MARKS[verdict]} {verdict}</strong>" in text
    assert "Excluded since 2026-02-01 00:00:00 UTC" in text
    assert "7 models" in text
    assert "because &lt;script" in text
    assert "<script" not in text
    assert "From before, and live" in text


def test_each_cell_says_what_it_is_for_where_there_is_no_room_for_columns() -> None:
    text = whole(answer(1, "x"))
    assert '<td data-of="registered">' in text
    assert '<th scope="row" data-of="model">' in text
