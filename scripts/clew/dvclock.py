"""The outs in dvc.lock, fast: a history has thousands of versions of it that differ elsewhere.

DVC writes dvc.lock in one layout. Where a file keeps to it, its text is cut into sections, and
each distinct section is parsed once. Any other file is parsed as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from clew.dvcyaml import load
from clew.errors import ConfigError

SOURCE = "dvc.lock"
SCHEMA = "2.0"
Entry = dict[str, Any]

# What YAML takes for a line end or refuses; a tab may separate where a space is expected.
_UNUSUAL = re.compile("[\t\r\0\x0b\x0c\x85\u2028\u2029\ufeff]")
# A section starts where a line is indented by at most four spaces and is no item of a list.
_SECTION = re.compile(r"^(?!    - )(?= {0,4}[^ \n])", re.MULTILINE)
_HEAD = ["", "schema: '2.0'\n", "stages:\n"]
_STAGE = re.compile(r"  (?P<name>\w[\w@.=-]*):\n")
_PART = re.compile(r"    (?P<name>cmd|deps|params|outs):")
# Sections that are sure to be valid by themselves; the others have to be parsed.
_PLAIN = r"(?:[\w./][\w./+=@-]*|'[\w./+=@-]*')"
_VALID = re.compile(
    rf"    (?:deps|outs):\n(?:    - path: {_PLAIN}\n(?:      hash: {_PLAIN}\n)?"
    rf"      md5: {_PLAIN}\n(?:      size: \d+\n)?(?:      nfiles: \d+\n)?"
    r"(?:      isexec: true\n)?)+",
    re.ASCII,
)


def lock_outs(text: bytes, is_wanted: Callable[[str], bool]) -> list[Entry]:
    """Return the outs of the wanted stages; ConfigError when dvc.lock can't be read."""
    sections = _cut(text)
    if sections is None:
        return _outs_of(_whole(text), is_wanted)
    entries: list[Entry] = []
    for name, section in sections.items():
        if is_wanted(name):
            found = _parsed(section)
            if found is None:
                return _outs_of(_whole(text), is_wanted)
            entries += found
    return entries


def _cut(text: bytes) -> dict[str, str] | None:
    """Return the text of each stage's outs; None when DVC did not write this file."""
    try:
        decoded = text.decode().rstrip() + "\n"
    except UnicodeDecodeError:
        return None
    if _UNUSUAL.search(decoded):
        return None
    return _sections(decoded)


def _sections(text: str) -> dict[str, str] | None:
    sections = _SECTION.split(text)
    if sections[:3] != _HEAD:
        return None
    outs: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    stage = part = ""
    for section in sections[3:]:
        if header := _STAGE.fullmatch(section):
            stage, part = header["name"], ""
        elif stage and (named := _PART.match(section)) and _is_valid(section):
            part = named["name"]
        else:
            return None
        if (stage, part) in seen:
            return None
        seen.add((stage, part))
        if part == "outs":
            outs[stage] = section
    return outs


@lru_cache(maxsize=65536)
def _is_valid(section: str) -> bool:
    """Tell whether a section is YAML by itself, so that nothing in it reaches beyond it."""
    return _VALID.fullmatch(section) is not None or _loaded(section) is not None


def _loaded(section: str) -> dict[str, Any] | None:
    try:
        document = load(section.encode(), SOURCE)
    except ConfigError:
        return None
    return document if isinstance(document, dict) else None


@lru_cache(maxsize=65536)
def _parsed(section: str) -> list[Entry] | None:
    entries = (_loaded(section) or {}).get("outs")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return None
    return entries


@lru_cache(maxsize=256)
def _whole(text: bytes) -> dict[str, Any]:
    document = load(text, SOURCE)
    if not isinstance(document, dict):
        raise ConfigError("dvc.lock is not what DVC writes: it has no mapping at the top")
    if str(document.get("schema")) != SCHEMA:
        raise ConfigError(
            f"dvc.lock has the schema {document.get('schema')!r}; clew reads '{SCHEMA}'",
            fix="Run `dvc repro` with DVC 3 and commit dvc.lock.",
        )
    stages = document.get("stages") or {}
    if not isinstance(stages, dict):
        raise ConfigError("dvc.lock is not what DVC writes: `stages` is no mapping")
    return stages


def _outs_of(stages: dict[str, Any], is_wanted: Callable[[str], bool]) -> list[Entry]:
    wanted: Iterable[Any] = (stage for name, stage in stages.items() if is_wanted(name))
    outs = [(stage.get("outs") or []) if isinstance(stage, dict) else [] for stage in wanted]
    return [entry for found in outs for entry in found if isinstance(entry, dict)]
