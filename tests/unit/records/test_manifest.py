"""Manifests: read whatever is in them, or refused, and compared without reading twice."""

from __future__ import annotations

import csv
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.config.model import Records
from clew.errors import Unverifiable
from clew.records.difference import Membership, difference
from clew.records.manifest import Manifest, Row

NAMES = Records("data/m.csv")
ids = st.text(min_size=1).filter(lambda text: not {"\0", "\r"} & set(text))
row = st.tuples(ids, st.sampled_from(["train", "test"]))
worlds = st.dictionaries(ids, row, max_size=6)
plain = st.dictionaries(
    st.sampled_from("abcdef"), st.tuples(st.sampled_from("xyz"), st.sampled_from("pq")), max_size=6
)


def written(world: dict[str, tuple[str, str]], label: str = "") -> Manifest:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["split", "record_id", "subject_id", "label"])
    writer.writerows([split, record, subject, label] for record, (subject, split) in world.items())
    return Manifest("data/m.csv", "", text.getvalue().encode(), NAMES)


@given(worlds)
def test_every_text_comes_back_as_it_was(world: dict[str, tuple[str, str]]) -> None:
    rows = list(written(world, "=x").rows())
    expected = [Row(r, subject, split, "=x", "", "") for r, (subject, split) in world.items()]
    assert rows == expected


@given(worlds, worlds)
def test_a_difference_is_that_of_the_rows(
    before: dict[str, tuple[str, str]], now: dict[str, tuple[str, str]]
) -> None:
    assert_difference(before, now)


@given(plain, plain)
def test_lines_are_compared_as_rows_are(
    before: dict[str, tuple[str, str]], now: dict[str, tuple[str, str]]
) -> None:
    assert written(before).is_plain
    assert_difference(before, now)


def assert_difference(before: dict[str, tuple[str, str]], now: dict[str, tuple[str, str]]) -> None:
    had, has = ({Membership(r, *rest) for r, rest in world.items()} for world in (before, now))
    found = difference(written(before, "old"), written(now, "new"))
    assert set(found.left) == had - has
    assert set(found.came) == has - had
    assert set(difference(None, written(now)).came) == has


def test_a_parquet_manifest_says_the_same() -> None:
    columns = {"subject_id": ["a", "b"], "record_id": [1, 2], "split": ["train", None]}
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    manifest = Manifest("data/m.parquet", "", file.getvalue(), NAMES)
    assert manifest.columns == ("subject_id", "record_id", "split")
    assert [tuple(one)[:3] for one in manifest.rows()] == [("1", "a", "train"), ("2", "b", "")]
    csv_one = written({"1": ("a", "train"), "2": ("b", "")})
    assert difference(csv_one, manifest) == ([], [])


@pytest.mark.parametrize("values", [[1.0], [True], [b"x"], [["x"]]])
def test_ids_that_have_no_one_form_as_text_are_refused(values: list[object]) -> None:
    columns = {"subject_id": values, "record_id": ["r"], "split": ["train"]}
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    with pytest.raises(Unverifiable, match="subject_id"):
        list(Manifest("data/m.parquet", "", file.getvalue(), NAMES).rows())


def test_a_byte_order_mark_is_no_part_of_a_name() -> None:
    content = b"\xef\xbb\xbfsubject_id,record_id,split\ns,r,train\n"
    (only,) = Manifest("data/m.csv", "", content, NAMES).rows()
    assert (only.subject, only.record) == ("s", "r")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no column 'record_id'"),
        (b"record_id,split\nr,train\n", "no column 'subject_id'"),
        (b"subject_id,record_id,split\nsecret,r\n", "line 2 has 2 fields"),
        (b"subject_id,record_id,split,split\nsecret,r,a,b\n", "'split' more than once"),
        (b"subject_id,record_id,split\nsecret,r,a,b\n", "line 2 has 4 fields"),
        (b'subject_id,record_id,split\nsecret,"r,a\n', "line 2"),
        (b"subject_id,record_id,split\nsecret,\xff,a\n", "line"),
    ],
)
def test_what_is_broken_is_named_without_naming_anybody(content: bytes, why: str) -> None:
    with pytest.raises(Unverifiable, match=why) as caught:
        list(Manifest("data/m.csv", "", content, NAMES).rows())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PAR1 nonsense PAR1"])
def test_a_broken_parquet_file_is_unverifiable(content: bytes) -> None:
    with pytest.raises(Unverifiable, match="can't be read"):
        list(Manifest("data/m.parquet", "", content, NAMES).rows())


def test_ids_of_ten_thousand_characters_are_read() -> None:
    long = "x" * 10_000
    (only,) = written({long: (long, "train")}).rows()
    assert only.subject == long
