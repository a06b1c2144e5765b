"""The consent registry: who has agreed that their records are used."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from readers import DataError

STATUSES = ("active", "revoked")
COLUMNS = ["subject_id", "status", "updated_at", "reason"]


def read_consent(path: Path) -> dict[str, str]:
    """Return each subject's status; DataError names the line that is wrong."""
    statuses: dict[str, str] = {}
    for line, subject, status, updated_at in _rows(path):
        if status not in STATUSES:
            raise DataError(f"{path}:{line}: unknown status; allowed: active, revoked")
        if statuses.setdefault(subject, status) != status:
            raise DataError(f"{path}:{line}: the same subject has another status further up")
        try:
            datetime.fromisoformat(updated_at)
        except ValueError as error:
            raise DataError(f"{path}:{line}: updated_at is no ISO 8601 time") from error
    return statuses


def _rows(path: Path) -> Iterator[tuple[int, str, str, str]]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        header = next(reader, [])
        if header != COLUMNS and header != COLUMNS[:3]:
            raise DataError(f"{path}:1: found columns {header}, expected {COLUMNS}")
        for row in reader:
            if len(row) != len(header) or not row[0]:
                raise DataError(f"{path}:{reader.line_num}: found {len(row)} fields, or no subject")
            yield reader.line_num, row[0], row[1], row[2]
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}") from error


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from error
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{line}: not UTF-8") from error
