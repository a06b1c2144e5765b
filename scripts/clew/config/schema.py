"""pipeline.schema.json: what a document must be, and its violations told as mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew.config.mistakes import Location, Mistake, Places, found, found_name, nearest
from clew.identity import canonical_json

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_ENOUGH = 100  # looking for the nearest name of thousands of keys takes seconds
_TYPES = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}


@dataclass(frozen=True)
class ValidationCache:
    """Remembers in a folder which documents are valid; without a usable folder, none."""

    folder: Path

    def knows(self, key: str) -> bool:
        try:
            return (self.folder / key).exists()
        except OSError:
            return False

    def add(self, key: str) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / key).touch()  # empty, so that it is there whole or not at all
        except OSError:
            return


@cache
def schema_bytes() -> bytes:
    """Return the bytes of the schema that ships in the package."""
    return Path(__file__).with_name("pipeline.schema.json").read_bytes()


@cache
def schema() -> Mapping[str, Any]:
    """Return the schema as a document."""
    loaded: dict[str, Any] = json.loads(schema_bytes())
    return loaded


def cache_key(document: Any) -> str:
    """Return what a verdict depends on: the schema and the document's values."""
    return sha256(schema_bytes() + b"\0" + canonical_json(document)).hexdigest()


def violations(document: Any, places: Places) -> list[Mistake]:
    """Return the violations of the schema, of a hopeless document only the first ones."""
    from jsonschema import Draft202012Validator  # costs 100 ms, so only when it is needed

    told = (
        places.mistake((*error.absolute_path, *below), text)
        for error in Draft202012Validator(schema()).iter_errors(document)
        for below, text in _told(error)
    )
    return list(islice(told, _ENOUGH))


def type_names(types: str | list[str]) -> str:
    """Return JSON Schema types in words."""
    return " or ".join(_TYPES[name] for name in ([types] if isinstance(types, str) else types))


def _told(error: ValidationError) -> Iterator[tuple[Location, str]]:
    if error.validator == "additionalProperties":
        yield from _unknown_keys(error)
    elif error.validator == "required":
        yield from _missing_keys(error)
    elif error.validator == "minProperties":
        yield from _too_few_keys(error)
    else:
        yield (), _TEXTS[str(error.validator)](error)


def _parts(error: ValidationError) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is at fault and its schema; jsonschema types both too loosely."""
    instance: Any = error.instance
    rule: Any = error.schema
    return instance, rule


def _unknown_keys(error: ValidationError) -> Iterator[tuple[Location, str]]:
    instance, rule = _parts(error)
    allowed = list(rule["properties"])
    for key in instance:
        if key not in allowed:
            yield (key,), found_name(key, allowed)


def _missing_keys(error: ValidationError) -> Iterator[tuple[Location, str]]:
    # jsonschema gives one such error for each missing key: equal mistakes are told once
    instance, rule = _parts(error)
    properties = list(rule["properties"])
    misspelt = {nearest(key, properties) for key in instance if key not in properties}
    missing = [repr(key) for key in rule["required"] if key not in {*instance, *misspelt}]
    if missing:
        yield (), f"found no {', '.join(missing)}; required: {', '.join(rule['required'])}"


def _limit(words: str) -> Callable[[ValidationError], str]:
    return lambda error: found(error.instance, words.format(error.validator_value))


def _described(error: ValidationError) -> str:
    _, rule = _parts(error)
    return found(error.instance, rule["title"])


def _choice(error: ValidationError) -> str:
    values: Any = error.validator_value
    return found_name(error.instance, values)


def _type(error: ValidationError) -> str:
    _, rule = _parts(error)
    return found(error.instance, rule.get("title") or type_names(rule["type"]))


def _too_few_keys(error: ValidationError) -> Iterator[tuple[Location, str]]:
    instance, rule = _parts(error)
    if set(rule["required"]) <= set(instance):
        more = [key for key in rule["properties"] if key not in instance]
        yield (), f"found only {', '.join(instance)}; required: one of {', '.join(more)} too"


def _repeated(error: ValidationError) -> str:
    items: Any = error.instance
    twice = next(item for n, item in enumerate(items) if item in items[:n])
    return found(twice, "each item once")


_TEXTS: dict[str, Callable[[ValidationError], str]] = {
    "type": _type,
    "pattern": _described,
    "enum": _choice,
    "minimum": _limit("{} or more"),
    "maximum": _limit("{} or less"),
    "exclusiveMinimum": _limit("more than {}"),
    "minItems": _limit("at least {} item"),
    "minLength": _limit("at least {} character"),
    "maxLength": _limit("at most {} characters"),
    "uniqueItems": _repeated,
}
