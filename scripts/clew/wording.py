"""wording: how numbers are put into sentences."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """Return a number with its noun, of which one is one."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
