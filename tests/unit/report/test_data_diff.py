"""What changed between two data versions, from their manifests and lists of files."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from clew.config.model import Records
from clew.errors import Unverifiable
from clew.report.data_diff import ClassChange, DataState, LabelCount, data_diff, parse_manifest

MANIFEST = Records("data/manifest.csv")


def state(rows: Mapping[str, tuple[str, str, str]], columns: str = "record_id") -> DataState:
    """Return a data version: record id -> split, label, content."""
    files = {f"data/{one}": content for one, (*_, content) in rows.items()}
    text = f"{columns},file_path,split,label,subject_id\n"
    text += "".join(f"{one},{one},{split},{label},s\n" for one, (split, label, _) in rows.items())
    found, records = parse_manifest(text.encode(), MANIFEST, files)
    return DataState(files, records, found, 10 * len(files), "record")


BASE = state({"a": ("train", "x", "1"), "b": ("train", "x", "2"), "c": ("test", "y", "3")})


def sizes(md5s: set[str]) -> dict[str, int]:
    return {md5: 10 for md5 in md5s if md5 != "unknown"}


def test_records_are_counted_by_split_and_class_with_their_new_bytes() -> None:
    head = state({"a": ("train", "x", "1"), "b": ("train", "x", "4"), "d": ("train", "x", "5")})
    found = data_diff(BASE, head, sizes)
    assert found.classes == (
        ClassChange("test", "y", 0, 1, 0, 0, 0),
        ClassChange("train", "x", 1, 0, 1, 3, 20),
    )
    assert (found.added, found.removed, found.changed) == (1, 1, 1)
    assert (found.files_new, found.bytes_new, found.bytes_reused) == (2, 20, 10)
    assert found.labels == (LabelCount("x", 2, 3), LabelCount("y", 1, 0))
    assert found.folders == (("data", 3),)


def test_a_moved_file_is_no_new_content() -> None:
    head = state({"z": ("train", "x", "1"), "b": ("train", "x", "2"), "c": ("test", "y", "3")})
    found = data_diff(BASE, head, sizes)
    assert (found.added, found.removed, found.bytes_new, found.bytes_reused) == (1, 1, 0, 30)


def test_labels_and_splits_that_changed_are_told() -> None:
    head = state({"a": ("test", "x", "1"), "b": ("train", "y", "2"), "c": ("test", "y", "3")})
    found = data_diff(BASE, head, sizes)
    assert (found.relabelled, found.resplit, found.changed, found.bytes_new) == (1, 1, 2, 0)


def test_bytes_that_nobody_can_tell_are_unknown_not_nothing() -> None:
    head = state({"a": ("train", "x", "unknown"), "b": ("train", "y", "4")})
    found = data_diff(BASE, head, sizes)
    assert found.bytes_new is None
    assert found.bytes_reused is None
    assert {row.label: row.bytes_new for row in found.classes if row.records} == {
        "x": None,
        "y": 10,
    }
    assert data_diff(BASE, head).bytes_new is None


def test_columns_that_came_or_went_are_told() -> None:
    head = state({"a": ("train", "x", "1")}, columns="record_id")
    there = DataState(head.files, head.records, ("record_id", "camera"), 10, "record")
    found = data_diff(head, there)
    assert found.columns_added == ("camera",)
    assert found.columns_removed == ("file_path", "split", "label", "subject_id")


def test_a_manifest_without_its_column_is_unverifiable() -> None:
    with pytest.raises(Unverifiable, match="record_id"):
        parse_manifest(b"id,split\n1,train\n", MANIFEST, {})
