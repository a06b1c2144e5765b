"""YAML as DVC reads it (1.2: `1e-3` is a number, `yes` is a text), in bounded space.

Built from libyaml's events, as pipeline.yaml is by a stricter reader (config/yaml_source.py), which
knows each value's line and refuses aliases. libyaml's own composer recurses in C, so that a few
hundred kilobytes of `[` crash the interpreter, keeps the last of two equal keys, and lets aliases
grow without bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from clew.conflicts import refuse_markers
from clew.errors import ConfigError

MAX_BYTES = 50_000_000
MAX_DEPTH = 64
MAX_NODES = 2_000_000  # with aliases written out

_INTEGER = re.compile(r"[-+]?[0-9]{1,4000}|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"(?P<sign>[-+]?)\.(?P<name>inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LITERALS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def load(text: bytes, source: str) -> Any:
    """Return the value of a YAML document, its keys as text; ConfigError says what is wrong."""
    import yaml

    refuse_markers(text, source)
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{source} is too large: {len(text)} bytes, at most {MAX_BYTES}")
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder(yaml.parse(text.decode("utf-8-sig"), Loader=loader), source).document()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source} is not UTF-8: {error.reason}") from error
    except yaml.YAMLError as error:
        said = " ".join(str(error).replace(' in "<unicode string>",', " at").split())
        raise ConfigError(
            f"{source} is broken YAML: {said}",
            fix=f"Correct it, or take it from a commit that has it whole: git checkout … {source}.",
        ) from error


def scalar(text: str) -> Any:
    """Return what a plain text means in YAML 1.2."""
    if text in _LITERALS:
        return _LITERALS[text]
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if special := _SPECIAL.fullmatch(text):
        return float(f"{special['sign'] or ''}{special['name'] or 'nan'}")
    return text


class _Builder:
    """Builds values from events; what it counts are nodes with aliases written out."""

    def __init__(self, stream: Iterator[Any], source: str) -> None:
        self._stream = stream
        self._source = source
        self._nodes = 0
        self._anchors: dict[str, tuple[Any, int]] = {}  # value and its number of nodes

    def document(self) -> Any:
        next(self._stream)  # StreamStart
        if type(next(self._stream)).__name__ == "StreamEndEvent":
            return None
        value = self._node(next(self._stream), 0)
        next(self._stream)  # DocumentEnd
        if type(next(self._stream)).__name__ != "StreamEndEvent":
            raise self._refusal("has a second document")
        return value

    def _node(self, event: Any, depth: int) -> Any:
        kind = type(event).__name__
        if kind == "AliasEvent":
            return self._alias(event)
        if depth > MAX_DEPTH:
            raise self._refusal(f"is nested deeper than {MAX_DEPTH} levels")
        before = self._nodes
        self._count(1)
        if kind == "ScalarEvent":
            plain = event.style in (None, "") and event.tag is None
            value = scalar(event.value) if plain else event.value
        elif kind == "SequenceStartEvent":
            value = [self._node(item, depth + 1) for item in self._until("SequenceEndEvent")]
        else:
            value = self._mapping(depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, self._nodes - before
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise self._refusal(f"has an unknown alias *{event.anchor}")
        value, nodes = self._anchors[event.anchor]
        self._count(nodes)
        return value

    def _mapping(self, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: list[Any] = []
        for event in self._until("MappingEndEvent"):
            key = getattr(event, "value", None)
            if key is None:
                raise self._refusal("has a key that is no text")
            value = self._node(next(self._stream), depth + 1)
            if key == "<<" and event.style in (None, ""):
                merged += value if isinstance(value, list) else [value]
                continue
            if key in values:
                raise self._refusal(f"has the key {key!r} twice")
            values[key] = value
        for other in merged:
            if not isinstance(other, dict):
                raise self._refusal("merges (`<<`) what is no mapping")
            values = {**other, **values}
        return values

    def _until(self, end: str) -> Iterator[Any]:
        while type(event := next(self._stream)).__name__ != end:
            yield event

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self._refusal(f"has more than {MAX_NODES} values with its aliases written out")

    def _refusal(self, what: str) -> ConfigError:
        return ConfigError(f"{self._source} {what}")
