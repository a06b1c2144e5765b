"""Tokens: how subjects are called wherever their own ids must not be.

A subject's token is HMAC-SHA256 under the subject key over its salt and its id. The salts lie in
the vault; forgetting a subject is deleting its salt, after which nobody can tell its token.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NewType, Protocol

Token = NewType("Token", str)  # 64 hex digits
FORGOTTEN = Token("0" * 64)  # of every subject whose salt was deleted


class Tokens(Protocol):
    """The vault of salts together with the subject key."""

    key_id: str  # tells keys apart and gives none away

    def find(self, subject: str) -> Token | None:
        """Return a subject's token, None when the vault never saw it.

        Unverifiable when the subject was forgotten, or key and vault don't belong together.
        """

    def of(self, subjects: Iterable[str]) -> dict[str, Token]:
        """Return the token of each subject; new ones are given a salt, forgotten ones FORGOTTEN."""
