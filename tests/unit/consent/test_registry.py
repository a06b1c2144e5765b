"""The consent registry as a file: strict to read, and every other byte stays when it is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.consent.registry import (
    Statement,
    changed,
    has_control,
    merged,
    parse,
    refuse_unsafe,
    resembles,
    written,
)
from clew.errors import ConfigError

HEAD = "subject_id,status,updated_at,reason\n"
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACTIVE, REVOKED = Statement("active", AT), Statement("revoked", AT, "moved away")
ids = st.text(min_size=1, max_size=20).filter(lambda text: not has_control(text))
statements = st.builds(
    Statement,
    st.sampled_from(["active", "revoked"]),
    st.integers(0, int(AT.timestamp())).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    st.text(max_size=10).filter(lambda text: not {"\0", "\r"} & set(text)),
)


@given(st.dictionaries(ids, statements))
def test_what_is_written_is_read(whole: dict[str, Statement]) -> None:
    assert parse(written(whole), "c.csv") == whole


@given(st.dictionaries(ids, statements, min_size=1), ids, st.booleans(), st.booleans())
def test_a_change_changes_one_subject_only(
    whole: dict[str, Statement], subject: str, crlf: bool, ended: bool
) -> None:
    content = written(whole)
    if not any("\n" in said.reason or "\r" in said.reason for said in whole.values()):
        content = content.replace(b"\n", b"\r\n") if crlf else content
        content = content if ended else content.rstrip(b"\r\n")
    after = changed(content, "c.csv", subject, REVOKED)
    assert parse(after, "c.csv") == {**whole, subject: REVOKED}
    if subject not in whole:
        assert after.startswith(content)


def test_every_other_byte_stays() -> None:
    content = (
        f"{HEAD}a,active,2026-01-01T00:00:00+01:00,\n"
        '"b",active,2026-01-01,"two\nlines"\nc,active,2026-01-01T00:00Z,x'
    ).encode()
    after = changed(content, "c.csv", "b", REVOKED)
    old, new = (
        b'"b",active,2026-01-01,"two\nlines"\n',
        b"b,revoked,2026-03-01T12:00:00Z,moved away\n",
    )
    assert after == content.replace(old, new)
    assert changed(content, "c.csv", "d", ACTIVE).startswith(content + b"\nd,active,")


def test_a_registry_without_reasons_stays_one() -> None:
    content = b"subject_id,status,updated_at\na,active,2026-01-01\n"
    after = changed(content, "c.csv", "a", REVOKED)
    assert after == b"subject_id,status,updated_at\na,revoked,2026-03-01T12:00:00Z\n"


@pytest.mark.parametrize(
    ("rows", "line", "why"),
    [
        ("secret,gone,2026-01-01,\n", 2, "unknown status"),
        ("x,active,2026-01-01,\nsecret,active,2026-01-01\n", 3, "3 fields instead of 4"),
        ("secret,active,2026-01-01,\nsecret,revoked,2026-01-02,\n", 3, "another status"),
        ("secret,active,yesterday,\n", 2, "ISO 8601"),
        (",active,2026-01-01,\n", 2, "no subject_id"),
        ("secret\t,revoked,2026-01-01,\n", 2, "control characters"),
        ("x,active,2026-01-01,\nsecret,revoked,2999-01-01,\n", 3, "in the future"),
        ('secret,active,2026-01-01,"x\n', 2, "unexpected end"),
        ('x,active,2026-01-01,"a\nb"\nsecret,gone,2026-01-01,\n', 4, "unknown status"),
    ],
)
def test_what_is_broken_is_named_by_its_line(rows: str, line: int, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        parse((HEAD + rows).encode(), "c.csv")
    assert f"c.csv:{line}:" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_other_columns_and_other_encodings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"c\.csv:1"):
        parse(b"id,status\n", "c.csv")
    with pytest.raises(ConfigError, match=r"c\.csv:2: not UTF-8"):
        parse(HEAD.encode() + b"\xff,active,2026-01-01,\n", "c.csv")


def test_the_same_subject_twice_in_agreement_is_one() -> None:
    rows = "a,active,2026-01-01T00:00:00Z,\na,active,2026-02-01T00:00:00Z,again\n"
    assert parse((HEAD + rows).encode(), "c.csv")["a"].reason == "again"


def test_who_revoked_anywhere_has_revoked() -> None:
    assert merged({"a": ACTIVE}, {"a": REVOKED})["a"] is REVOKED
    assert merged({"a": REVOKED}, {"a": ACTIVE})["a"] is REVOKED
    assert merged({"a": ACTIVE}, {"b": ACTIVE}).keys() == {"a", "b"}


@pytest.mark.parametrize("reason", ["=1+1", "+1", "-1", "@x", "\tx", "two\nlines"])
def test_a_reason_that_a_spreadsheet_runs_is_refused(reason: str) -> None:
    with pytest.raises(ConfigError, match="reason"):
        refuse_unsafe("a", Statement("revoked", AT, reason))


def test_a_local_time_without_its_zone_is_not_the_future() -> None:
    moment = (datetime.now(UTC) + timedelta(hours=13)).replace(tzinfo=None).isoformat()
    assert parse(f"{HEAD}a,revoked,{moment},\n".encode(), "c.csv")["a"].status == "revoked"


@pytest.mark.parametrize(
    "other", ["person-bob ", "Person-Bob", "person\u2010bob", "\uff50erson-bob"]
)
def test_ids_that_look_the_same_are_told_apart(other: str) -> None:
    assert resembles("person-bob", ["ada", other]) is ("\u2010" not in other)
    assert not resembles("person-bob", ["person-bob", "ada"])


@pytest.mark.parametrize("subject", ["", "a\nb", "a\0b", "\x7f", "a\x85b"])
def test_an_id_that_can_not_be_kept_is_refused(subject: str) -> None:
    with pytest.raises(ConfigError, match="subject id"):
        refuse_unsafe(subject, ACTIVE)
