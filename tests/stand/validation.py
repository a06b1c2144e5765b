"""Checks requests and answers against botocore's own description of a service.

botocore checks types and required members before it sends; enums, patterns and lengths only AWS
checks, in the words used here (one message for all that is wrong). Unlike AWS, which ignores
them, members that the service doesn't have are refused.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import botocore.session
import regex
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

from tests.stand.errors import AwsError, validation

TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "blob": (str, bytes),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "timestamp": (int, float),
}
JSON_NAMES = {
    bool: "TRUE_VALUE",
    int: "NUMBER_VALUE",
    float: "NUMBER_VALUE",
    str: "STRING_VALUE",
    list: "START_ARRAY",
    dict: "START_OBJECT",
}


@functools.cache
def service_model(service: str) -> ServiceModel:
    return botocore.session.Session().get_service_model(service)


def operation_model(service: str, operation: str) -> OperationModel:
    model = service_model(service)
    if operation not in model.operation_names:
        raise AwsError("UnknownOperationException", f"Unknown operation {operation}")
    return model.operation_model(operation)


def check_request(service: str, operation: str, request: Any) -> None:
    """Raise what AWS would answer to a malformed request."""
    shape = operation_model(service, operation).input_shape
    if shape is None:
        return
    _check_types(shape, request)
    problems = list(_problems(shape, request, ""))
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        raise validation(f"{len(problems)} validation {noun} detected: {'; '.join(problems)}")


def output_problems(service: str, operation: str, answer: dict[str, Any]) -> list[str]:
    """What is wrong with an answer; SageMaker itself answers empty texts, so those may be."""
    shape = operation_model(service, operation).output_shape
    if shape is None:
        return [] if not answer else [f"{operation} has no output"]
    try:
        _check_types(shape, answer)
    except AwsError as error:
        return [error.message]
    return [one for one in _problems(shape, answer, "") if not one.startswith("Value '' ")]


def _check_types(shape: Shape, value: Any) -> None:
    """AWS stops at the first value of a wrong JSON type, before it validates anything."""
    kind = bool if isinstance(value, bool) else type(value)
    wanted = TYPES[shape.type_name]
    fits = isinstance(value, wanted) and (kind is not bool or bool in wanted)
    if not fits:
        found = JSON_NAMES.get(kind, kind.__name__)
        raise AwsError(
            "SerializationException", f"{found} can not be converted to {_java(shape.type_name)}"
        )
    for inner_shape, inner, _ in _members(shape, value):
        _check_types(inner_shape, inner)


def _java(type_name: str) -> str:
    return {"structure": "an Object", "list": "a Collection", "map": "a Map"}.get(
        type_name, f"a{'n' if type_name[0] in 'aeiou' else ''} {type_name.capitalize()}"
    )


def _members(shape: Shape, value: Any) -> Iterator[tuple[Shape, Any, str]]:
    """The values inside a value, each with its shape and its name in AWS's messages."""
    if isinstance(shape, StructureShape):
        for name, inner in value.items():
            if name in shape.members and inner is not None:
                yield shape.members[name], inner, f".{name[0].lower()}{name[1:]}"
    elif isinstance(shape, MapShape):
        for name, inner in value.items():
            yield shape.value, inner, f".{name}"
    elif isinstance(shape, ListShape):
        for number, inner in enumerate(value, start=1):
            yield shape.member, inner, f".{number}.member"


def _problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        yield from _structure_problems(shape, value, path)
    for constraint in _broken(shape, value):
        shown = _shown(value)
        yield f"Value '{shown}' at '{_name(path)}' failed to satisfy constraint: {constraint}"
    if isinstance(shape, MapShape):
        yield from _map_problems(shape, value, path)
        if shape.value.type_name == "string":
            return
    for inner_shape, inner, name in _members(shape, value):
        yield from _problems(inner_shape, inner, path + name)


def _name(path: str) -> str:
    return path.removeprefix(".")


def _structure_problems(shape: StructureShape, value: dict[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            where = _name(f"{path}.{name[0].lower()}{name[1:]}")
            yield f"Value null at '{where}' failed to satisfy constraint: Member must not be null"
    for name in value:
        if name not in shape.members:
            yield f"Unknown member '{name}' at '{_name(path)}' of {shape.name}"


def _map_problems(shape: MapShape, value: dict[str, Any], path: str) -> Iterator[str]:
    """For maps of text AWS names the whole map and every constraint, not the entry."""
    for text, part, plural in (("key", shape.key, "keys"), ("value", shape.value, "value")):
        if part.type_name != "string":
            continue
        entries = value if text == "key" else value.values()
        if any(True for entry in entries for _ in _broken(part, entry)):
            every = ", ".join(_constraints(part))
            yield (
                f"Value '{_shown(value)}' at '{_name(path)}' failed to satisfy constraint: "
                f"Map {plural} must satisfy constraint: [{every}]"
            )


def _constraints(shape: Shape) -> Iterator[str]:
    limits = shape.metadata
    if "max" in limits:
        yield f"Member must have length less than or equal to {limits['max']}"
    if "min" in limits:
        yield f"Member must have length greater than or equal to {limits['min']}"
    if "pattern" in limits:
        yield f"Member must satisfy regular expression pattern: {limits['pattern']}"


def _broken(shape: Shape, value: Any) -> Iterator[str]:
    """The constraints of this shape that a value breaks."""
    limits = shape.metadata
    if "enum" in limits and value not in limits["enum"]:
        yield f"Member must satisfy enum value set: [{', '.join(limits['enum'])}]"
    number = isinstance(value, int | float)
    size = value if number else len(value)
    what = "value" if number else "length"
    if "max" in limits and size > limits["max"]:
        yield f"Member must have {what} less than or equal to {limits['max']}"
    if "min" in limits and size < limits["min"]:
        yield f"Member must have {what} greater than or equal to {limits['min']}"
    if "pattern" in limits and not _matches(limits["pattern"], value):
        yield f"Member must satisfy regular expression pattern: {limits['pattern']}"


@functools.cache
def _compiled(pattern: str) -> Any:
    """The model's patterns are Java's; the few that only Java reads are not checked."""
    try:
        return regex.compile(pattern)
    except regex.error:
        return None


def _matches(pattern: str, value: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(value) is not None


def _shown(value: Any) -> str:
    """Java's way of printing a map or list."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_shown(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return str(value)
