"""The schema is sound, complete, equal to the dataclasses' defaults and to the published docs."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from clew.config.model import Executor, Gate, Local, MetricsFile, Pipeline, Promotion, Records
from clew.config.reference import reference
from clew.config.rules import GATE_RULES
from clew.config.schema import schema

TOP = Path(__file__).parents[3]


def rules(rule: Any) -> Iterator[dict[str, Any]]:
    if isinstance(rule, dict):
        yield rule
    for below in rule.values() if isinstance(rule, dict) else rule:
        if isinstance(below, dict | list):
            yield from rules(below)


def mappings() -> list[dict[str, Any]]:
    return [rule for rule in rules(dict(schema())) if isinstance(rule.get("properties"), dict)]


def section(*keys: str) -> dict[str, Any]:
    rule: Any = schema()
    for key in keys:
        rule = rule[key]
    return dict(rule["properties"])


def test_the_docs_are_generated_from_the_schema() -> None:
    assert (TOP / "docs" / "configuration.md").read_text() == reference()


def test_the_module_prints_the_reference() -> None:
    command = [sys.executable, "-m", "clew.config.reference"]
    assert subprocess.run(command, check=True, capture_output=True).stdout == reference().encode()


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(dict(schema()))


def test_every_mapping_is_closed_and_every_key_described() -> None:
    assert len(mappings()) > 10
    for rule in mappings():
        assert rule["additionalProperties"] is False
        assert [k for k, below in rule["properties"].items() if "description" not in below] == []


def test_every_pattern_says_in_words_what_it_allows() -> None:
    assert [
        rule for rule in rules(dict(schema())) if "pattern" in rule and "title" not in rule
    ] == []


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        (Executor, ("properties", "executor")),
        (Local, ("properties", "executor", "properties", "local")),
        (Promotion, ("properties", "promotion")),
        (Records, ("properties", "records")),
        (MetricsFile, ("$defs", "metricsFile")),
        (Pipeline, ()),
    ],
)
def test_keys_and_defaults_are_those_of_the_dataclass(model: Any, keys: tuple[str, ...]) -> None:
    properties = section(*keys)
    fields = {field.name: field for field in dataclasses.fields(model)}
    assert set(fields) == set(properties)
    for name, rule in properties.items():
        default = fields[name].default
        if rule.get("default") not in (None, {}) and default is not dataclasses.MISSING:
            expected = tuple(rule["default"]) if isinstance(default, tuple) else rule["default"]
            assert default == expected, name


def test_a_gate_has_the_rules_of_the_schema() -> None:
    assert set(section("$defs", "gate")) == {"metric", *GATE_RULES}
    assert {f.name for f in dataclasses.fields(Gate)} == {"metric", "direction", *GATE_RULES}
