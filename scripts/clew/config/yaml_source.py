"""YAML as pipeline.yaml may use it: plain values only, each with its line, read in bounded space.

The document is built from libyaml's events instead of its nodes: its composer recurses in C (a
few hundred kilobytes of `[` crash the interpreter), expands aliases and keeps the last of two
equal keys. Plain scalars are read as YAML 1.2 does, which is what editors check; whatever YAML
1.1 reads as another value is refused, because then no reader knows which one was meant.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml import events as ev

from clew.config.mistakes import Location, Mistake, Places, found, refuse, shown
from clew.conflicts import refuse_markers
from clew.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_NODES = 2_000
MAX_DEPTH = 32
MAX_CHARACTERS = 2_000  # of one text: patterns are matched in space proportional to it

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = yaml.resolver.Resolver()
_UNPRINTABLE = yaml.reader.Reader.NON_PRINTABLE
_LITERALS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OTHER_NUMBER = re.compile(r"[-+]?0[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?|0o[0-7]+")  # YAML 1.2
_TEXT_TAG = "tag:yaml.org,2002:str"
_SURPRISES = {  # how a plain text is read, and what to write instead
    "bool": ("YAML 1.1 reads as a truth value", "true or false"),
    "int": ("a YAML reader may take for another number", "a decimal number"),
    "float": ("YAML reads as no plain decimal number", "a finite decimal number"),
    "timestamp": ("YAML 1.1 reads as a date or a time", "a plain name"),
    "merge": ("YAML 1.1 reads as a merge key", "the values written out"),
    "value": ("YAML 1.1 reads as a default value", "a plain name"),
}


class _SurpriseError(Exception):
    """YAML versions read a plain text as different values."""


def read(text: bytes, source: str) -> tuple[Any, Places]:
    """Return the one document of a YAML file as JSON values, and where each of them stands.

    ConfigError says what is wrong and where.
    """
    decoded = _decode(text, source)
    reader = _Reader(_events(decoded, source), source)
    value = reader.document()
    refuse(reader.mistakes)
    return value, reader.places


def _decode(text: bytes, source: str) -> str:
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{source}: found {len(text)} bytes; allowed: at most {MAX_BYTES}")
    refuse_markers(text, source)
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = text[: error.start]
        at = f"{source}:{_line_column(before.decode('utf-8', 'replace'))}"
        raise ConfigError(f"{at}: found byte 0x{text[error.start]:02x}; allowed: UTF-8") from error
    if bad := _UNPRINTABLE.search(decoded):
        at = f"{source}:{_line_column(decoded[: bad.start()])}"
        raise ConfigError(f"{at}: found control character {bad[0]!r}; allowed: printable text")
    return decoded


def _line_column(before: str) -> str:
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def _events(text: str, source: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax(text, source, error)) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: broken YAML: {error}") from error


def _syntax(text: str, source: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    what = "broken YAML: " + ", ".join(filter(None, (error.context, error.problem)))
    if mark is None:
        return f"{source}: {what}"
    if "\t" in text[: mark.index + 1].rpartition("\n")[2]:
        what = "found a tab; allowed: spaces for indentation"
    return f"{source}:{mark.line + 1}:{mark.column + 1}: {what}"


class _Reader:
    """Builds values from events, one method per kind of node; depth and size are bounded."""

    def __init__(self, stream: Iterator[Any], source: str) -> None:
        self._stream = stream
        self._lines: dict[Location, int] = {}
        self._nodes = 0
        self.places = Places(source, self._lines)
        self.mistakes: list[Mistake] = []

    def document(self) -> Any:
        next(self._stream)  # StreamStart
        if isinstance(next(self._stream), ev.StreamEndEvent):
            return None
        value = self._node(next(self._stream), ())
        next(self._stream)  # DocumentEnd
        second = next(self._stream)
        if not isinstance(second, ev.StreamEndEvent):
            line = second.start_mark.line + 1
            at = f"{self.places.source}:{line}"
            raise ConfigError(f"{at}: found a second document; allowed: one document")
        return value

    def _node(self, event: Any, path: Location) -> Any:
        self._lines.setdefault(path, event.start_mark.line + 1)
        self._admit(event, path)
        if isinstance(event, ev.ScalarEvent):
            return self._scalar(event, path)
        if isinstance(event, ev.SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _admit(self, event: Any, path: Location) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._stop(path, f"found more than {MAX_NODES} values; allowed: at most {MAX_NODES}")
        if len(path) > MAX_DEPTH:
            # the path itself would be as long as the nesting is deep
            self._stop(path[:3], f"found deep nesting; allowed: at most {MAX_DEPTH} levels")
        if event.anchor is not None:
            kind = "alias *" if isinstance(event, ev.AliasEvent) else "anchor &"
            what = f"found {kind}{event.anchor[:40]}; allowed: values written out"
            self._stop(path, what)
        if event.tag is not None:
            self._stop(path, f"found tag {event.tag[:80]}; allowed: values without a tag")

    def _stop(self, path: Location, text: str) -> None:
        refuse([*self.mistakes, self.places.mistake(path, text)])

    def _sequence(self, path: Location) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._stream), ev.SequenceEndEvent):
            values.append(self._node(event, (*path, len(values))))
        return values

    def _mapping(self, path: Location) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self._stream), ev.MappingEndEvent):
            key = self._key(event, path)
            self._note_key(event.start_mark.line + 1, (*path, key), key in values)
            values[key] = self._node(next(self._stream), (*path, key))
        return values

    def _key(self, event: Any, path: Location) -> str:
        line = event.start_mark.line + 1
        if not isinstance(event, ev.ScalarEvent):
            self._lines[path] = line
            self._stop(path, "found a key that is no text; allowed: names as keys")
        at = (*path, event.value)
        self._admit(event, at)
        self._lines.setdefault(at, line)
        if not isinstance(self._scalar(event, at), str):
            self.mistakes.append(self.places.mistake(at, "found no name; allowed: names as keys"))
        return str(event.value)

    def _note_key(self, line: int, path: Location, again: bool) -> None:
        if again:
            text = f"found {shown(path[-1])} twice, first at line {self._lines[path]}"
            where = Places(self.places.source, {path: line})
            self.mistakes.append(where.mistake(path, f"{text}; allowed: each key once"))
        self._lines[path] = line

    def _scalar(self, event: Any, path: Location) -> Any:
        text = event.value
        if len(text) > MAX_CHARACTERS:
            told = f"found {len(text)} characters; allowed: at most {MAX_CHARACTERS}"
            self._stop(path, told)
        try:
            value = text if event.style else _plain(text)
        except _SurpriseError as surprise:
            self.mistakes.append(self.places.mistake(path, str(surprise)))
            return text
        if isinstance(value, str) and not value.isprintable():
            told = found(value, "printable characters on one line")
            self.mistakes.append(self.places.mistake(path, told))
        return value


def _plain(text: str) -> Any:
    if text in _LITERALS:
        return _LITERALS[text]
    if _NUMBER.fullmatch(text):
        if not math.isfinite(float(text)):
            raise _surprise(text, "float")
        return int(text) if _INTEGER.fullmatch(text) else float(text)
    tag = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    if tag != _TEXT_TAG:
        raise _surprise(text, tag.rpartition(":")[2])
    if _OTHER_NUMBER.fullmatch(text):
        raise _surprise(text, "int")
    return text


def _surprise(text: str, kind: str) -> _SurpriseError:
    reading, instead = _SURPRISES[kind]
    told = f"found {shown(text)}, which {reading}"
    return _SurpriseError(f"{told}; allowed: {instead}, or the text in quotes")
