"""The consent registry: what each subject has said last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

Status = Literal["active", "revoked"]


@dataclass(frozen=True)
class Statement:
    """What one subject has said last."""

    status: Status
    updated_at: datetime  # UTC
    reason: str = ""


Statements = Mapping[str, Statement]  # by subject id


class Registry(Protocol):
    """Where consent is kept: a CSV file in Git, or a table of a database."""

    def statements(self) -> Statements:
        """Return what holds now; ConfigError with the line for one that is broken.

        Unverifiable where it can't be had.
        """
