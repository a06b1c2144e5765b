"""Whatever happens to a valid document, the answer is a Pipeline or a ConfigError with the file."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.config.load import load
from clew.config.model import Pipeline
from clew.errors import ConfigError

EXAMPLES = Path(__file__).parents[2] / "examples"
DOCUMENTS = [yaml.safe_load(p.read_bytes()) for p in sorted((EXAMPLES / "positive").glob("*.yaml"))]
TEXTS = [p.read_bytes() for p in sorted((EXAMPLES / "positive").glob("*.yaml"))]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TAGS = st.sampled_from(
    [b"!!str ", b"!!python/name:os.system ", b"!x ", b"&a ", b"*a ", b"<<: ", b"! "]
)
NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)


def load_or_refuse(text: bytes) -> Pipeline | None:
    try:
        return load(text, "some/p.yaml")
    except ConfigError as error:
        told = str(error).splitlines()
    assert all(line.startswith(("some/p.yaml:", "…")) for line in told)
    return None


def containers(value: Any) -> list[Any]:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict | list) and value else []
    return own + [found for item in below for found in containers(item)]


def mutate(document: Any, data: st.DataObject) -> None:
    owner = data.draw(st.sampled_from(containers(document)))
    key = data.draw(st.sampled_from(list(owner) if isinstance(owner, dict) else range(len(owner))))
    action = data.draw(st.sampled_from(["delete", "rename", "replace"]))
    if action == "replace":
        owner[key] = data.draw(JSON)
        return
    value = owner.pop(key)
    if action == "rename" and isinstance(owner, dict):
        owner[data.draw(st.text() | st.integers() | st.none() | st.just(f"{key}s"))] = value


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(DOCUMENTS), st.integers(1, 3), st.data())
def test_a_mutated_document_loads_or_is_refused(
    document: Any, times: int, data: st.DataObject
) -> None:
    document = copy.deepcopy(document)
    for _ in range(times):
        if containers(document):
            mutate(document, data)
    load_or_refuse(yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass"))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TEXTS), st.data())
def test_a_text_with_something_inserted_loads_or_is_refused(
    text: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(text)))
    until = data.draw(st.integers(at, min(len(text), at + 5)))
    load_or_refuse(text[:at] + data.draw(st.binary(max_size=4) | TAGS) + text[until:])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "ignore")))
def test_random_bytes_are_refused(text: bytes) -> None:
    assert load_or_refuse(text) is None


@st.composite
def valid_documents(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(NAMES, min_size=4, max_size=8, unique=True))
    half = len(names) // 2
    higher, lower = names[:half], names[half:]
    bounds = st.floats(0, 1e6) | st.integers(0, 100)
    rules = draw(st.dictionaries(st.sampled_from(["min", "max_regression"]), bounds, min_size=1))
    return {
        "name": names[0],
        "data": {"outputs": [f"data/{name}" for name in names], "stages": [*higher]},
        "train": {
            "stages": [*lower],
            "model": names[0],
            "metrics": [{"path": "m.json", "higher": higher, "lower": lower}],
        },
        "code": {"paths": [*names]},
        "mlflow": {"tracking_uri": "sqlite:///m.db", "experiment": names[1], "model": names[2]},
        "gates": [{"metric": draw(st.sampled_from(names)), **rules}],
        "records": {"manifest": f"data/{names[-1]}/manifest.csv"},
    }


def as_document(value: Any) -> Any:
    """Return a pipeline as pipeline.yaml would say it: what is left out or derived is not there."""
    if isinstance(value, list | tuple):
        return [as_document(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: as_document(item) for key, item in value.items() if key != "direction"}
    if set(kept) == {"path", "higher", "lower"} and not kept["higher"] + kept["lower"]:
        return kept["path"]
    return {key: item for key, item in kept.items() if item not in (None, [])}


@pytest.mark.parametrize("text", TEXTS)
def test_a_pipeline_written_out_loads_as_the_same_pipeline(text: bytes) -> None:
    pipeline = load(text, "p.yaml")
    written = json.dumps(as_document(dataclasses.asdict(pipeline)))  # JSON is YAML
    assert load(written.encode(), "p.yaml") == pipeline


@settings(max_examples=100, deadline=None)
@given(valid_documents())
def test_a_valid_document_is_read_as_it_was_written(document: dict[str, Any]) -> None:
    pipeline = load(yaml.safe_dump(document).encode(), "p.yaml")
    (gate,) = document["gates"]
    higher = document["train"]["metrics"][0]["higher"]
    assert pipeline.name == document["name"]
    assert list(pipeline.data.outputs) == document["data"]["outputs"]
    assert list(pipeline.train.stages) == document["train"]["stages"]
    assert {key: getattr(pipeline.gates[0], key) for key in gate} == gate
    assert pipeline.gates[0].direction == ("higher" if gate["metric"] in higher else "lower")
