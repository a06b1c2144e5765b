"""Loading pipeline.yaml: hostile files, the validation cache, defaults and the environment."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
import yaml

from clew.config import yaml_source
from clew.config.load import load, overridden
from clew.config.model import Executor, Gate, MetricsFile, Promotion
from clew.config.schema import ValidationCache
from clew.errors import ConfigError

EXAMPLES = Path(__file__).parents[2] / "examples"
FULL = (EXAMPLES / "positive" / "full.yaml").read_bytes()
MINIMAL = (EXAMPLES / "positive" / "minimal.yaml").read_bytes()
SAGEMAKER = (EXAMPLES / "positive" / "sagemaker.yaml").read_bytes()


def message(text: bytes, seen: ValidationCache | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, "p.yaml", seen)
    return str(caught.value)


def alias_bomb(levels: int) -> bytes:
    lines = ["a0: &a0 [" + ", ".join(["lol"] * 10) + "]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, levels)]
    return "\n".join(lines).encode()


def ten_megabytes_of_aliases() -> bytes:
    return b"a: &a [lol]\nb: [" + b"*a, " * 2_500_000 + b"*a]"


HOSTILE = {
    "bomb": (alias_bomb(30), "p.yaml:1: $.a0: found anchor &a0; allowed: values written out"),
    "big bomb": (ten_megabytes_of_aliases(), "allowed: at most 1000000"),
    "deep list": (b"[" * 900_000, "allowed: at most 32 levels"),
    "deep mapping": (b"{a: " * 200_000, "allowed: at most 32 levels"),
    "deep blocks": (b"- " * 400_000, "allowed: at most 32 levels"),
    "nested keys": (b"? " * 400_000, "found a key that is no text"),
    "many values": (b"[" + b"a," * 490_000 + b"]", "allowed: at most 2000"),
    "many keys": (b"\n".join(b"key%d: 1" % n for n in range(900)), "… and more"),
    "many unequal items": (
        b"data: {outputs: [" + b",".join(b"{a: %d}" % n for n in range(600)) + b"]}",
        "$.data.outputs[0]: found a mapping",
    ),
    "long key": (b"a" * 900_000 + b": 1", "p.yaml:1:"),
    "long quoted key": (b'{"' + b"a" * 900_000 + b'": 1}', "found 900000 characters"),
    "long path in bounds": (b"train: {model: '" + b"a/" * 999 + b"'}", "a relative path"),
    "long text": (
        b"name: " + b"a-" * 300_000,
        "$.name: found 600000 characters; allowed: at most 2000",
    ),
    "long path": (b"train: {model: '" + b"a/" * 300_000 + b"'}", "found 600000 characters"),
    "long number": (b"gates: [{metric: a, min: " + b"9" * 1_999 + b"}]", "decimal number"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_quickly_and_in_little_memory(name: str) -> None:
    text, expected = HOSTILE[name]
    message(b"name: 1")  # the first call imports jsonschema
    tracemalloc.start()
    start = time.perf_counter()
    told = message(text)
    seconds = time.perf_counter() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert expected in told
    assert len(told) < 10_000
    assert seconds < 30  # what grows with the square of the text takes minutes
    assert peak < 30_000_000  # bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"name: caf\xe9", "p.yaml:1:10: found byte 0xe9; allowed: UTF-8"),
        (b"name: a\n\xff", "p.yaml:2:1: found byte 0xff; allowed: UTF-8"),
        ("name: a".encode("utf-16"), "p.yaml:1:1: found byte 0xff; allowed: UTF-8"),
        (b"name: a\nx: \x00", "p.yaml:2:4: found control character '\\x00'"),
        (b"\x7fELF\x02\x01", "p.yaml:1:1: found control character '\\x7f'"),
        ("a: b\u2028c:\u2028\t- : [\n".encode(), "p.yaml:3:1: found a tab"),
        (b"a: 1\rb: [\r", "p.yaml:3:1: broken YAML"),
        (b"%YAML 3.0\n---\na: b", "p.yaml:1:1: broken YAML"),
        (b"", "p.yaml:1: $: found an empty document"),
        (b"\n# nothing\n", "p.yaml:1: $: found an empty document"),
        (b'name: "a\\u202eb"', "allowed: printable characters on one line"),
        (b"=: a", "p.yaml:1: $['=']: found '=', which YAML 1.1 reads as a default value"),
        (b"name: 0o17", "found '0o17', which a YAML reader may take for another number"),
    ],
)
def test_bytes_that_no_yaml_file_has(text: bytes, expected: str) -> None:
    assert expected in message(text)


def test_the_same_is_refused_without_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_source, "_LOADER", yaml.SafeLoader)
    assert "allowed: at most 32 levels" in message(b"[" * 900_000)
    assert "found anchor &a0" in message(alias_bomb(30))
    assert load(FULL, "p.yaml").name == "example"


def test_a_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    windows = b"\xef\xbb\xbf" + FULL.replace(b"\n", b"\r\n")
    assert load(windows, "p.yaml") == load(FULL, "p.yaml")


def test_defaults_are_those_of_the_dataclasses() -> None:
    pipeline = load(MINIMAL, "p.yaml")
    assert pipeline.executor == Executor()
    assert pipeline.promotion == Promotion()
    assert pipeline.data.stages == ()
    assert pipeline.data.remote is None
    assert pipeline.records is None
    assert pipeline.consent is None
    assert pipeline.train.metrics == (MetricsFile("metrics.json"),)


def test_a_gate_knows_which_way_its_metric_gets_better() -> None:
    gates = load(FULL, "p.yaml").gates
    assert gates == (
        Gate("accuracy", min=0.7, direction="higher"),
        Gate("loss", max_regression=0.02, direction="lower"),
    )
    assert load(MINIMAL, "p.yaml").gates == (Gate("anything", min=0, direction="higher"),)


def test_all_mistakes_are_told_in_the_order_of_the_file() -> None:
    text = FULL.replace(b"name: example", b"name: Example").replace(b"use: local", b"use: locl")
    told = message(text).splitlines()
    assert [line.split(": ")[1] for line in told] == ["$.name", "$.executor.use"]


def test_a_misspelt_key_that_is_required_is_one_mistake() -> None:
    told = message(FULL.replace(b"  experiment:", b"  experimnt:")).splitlines()
    assert [line.split(": ")[1] for line in told] == ["$.mlflow.experimnt"]


def test_a_password_never_reaches_the_message() -> None:
    uri = b"https://me:pa/ss@word@mlflow.example.org"
    told = message(FULL.replace(b"sqlite:///.clew/mlflow.db", uri))
    assert "https://***@mlflow.example.org" in told
    assert "ss" not in told.split("found", 1)[1].split(";")[0]


# --- the validation cache ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", sorted((EXAMPLES / "positive").glob("*.yaml")), ids=lambda p: p.stem
)
def test_the_cached_path_gives_the_same_pipeline(path: Path, tmp_path: Path) -> None:
    cache = ValidationCache(tmp_path / "deep" / "cache")
    fresh = load(path.read_bytes(), "p.yaml")
    assert load(path.read_bytes(), "p.yaml", cache) == fresh
    assert load(path.read_bytes(), "p.yaml", cache) == fresh
    assert len(list(cache.folder.iterdir())) == 1


@pytest.mark.parametrize(
    "path", sorted((EXAMPLES / "negative").glob("*.yaml")), ids=lambda p: p.stem
)
def test_an_invalid_file_never_gets_into_the_cache(path: Path, tmp_path: Path) -> None:
    cache = ValidationCache(tmp_path / "cache")
    assert message(path.read_bytes(), cache) == message(path.read_bytes(), cache)
    assert not cache.folder.exists()


def test_bounds_hold_on_the_cached_path_too(tmp_path: Path) -> None:
    cache = ValidationCache(tmp_path)
    load(FULL, "p.yaml", cache)
    assert "at most 1000000" in message(FULL + b"#" * 1_000_000, cache)
    assert "found anchor" in message(FULL.replace(b"name: ", b"name: &a "), cache)


def test_a_cache_folder_that_cannot_be_used_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert load(FULL, "p.yaml", ValidationCache(tmp_path / "file" / "cache")).name == "example"


def test_jsonschema_is_imported_only_when_it_is_needed(tmp_path: Path) -> None:
    load(FULL, "p.yaml", ValidationCache(tmp_path))
    code = (
        "import sys, pathlib\n"
        "from clew.config.load import load\n"
        "from clew.config.schema import ValidationCache\n"
        "text, cache = pathlib.Path(sys.argv[1]).read_bytes(), pathlib.Path(sys.argv[2])\n"
        "load(text, 'p.yaml', ValidationCache(cache))\n"
        "sys.exit('jsonschema' in sys.modules)"
    )
    file = EXAMPLES / "positive" / "full.yaml"
    subprocess.run([sys.executable, "-c", code, file, tmp_path], check=True)


# --- environment overrides ----------------------------------------------------------------------


def test_the_environment_overrides_executor_and_tracking_uri() -> None:
    environ = {"CLEW_EXECUTOR": "local", "MLFLOW_TRACKING_URI": "http://mlflow:5000"}
    changed = overridden(load(SAGEMAKER, "p.yaml"), environ)
    assert changed.executor.use == "local"
    assert changed.executor.sagemaker == load(SAGEMAKER, "p.yaml").executor.sagemaker
    assert changed.mlflow.tracking_uri == "http://mlflow:5000"


def test_unset_empty_and_other_variables_change_nothing() -> None:
    pipeline = load(FULL, "p.yaml")
    environ = {"CLEW_EXECUTOR": "", "MLFLOW_TRACKING_URI": "", "CLEW_NAME": "x"}
    assert overridden(pipeline, {}) == pipeline
    assert overridden(pipeline, environ) == pipeline


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("CLEW_EXECUTOR", "sagmaker", "found 'sagmaker'; allowed: local, sagemaker; did you mean"),
        ("CLEW_EXECUTOR", "sagemaker", "has no executor.sagemaker section"),
        ("MLFLOW_TRACKING_URI", "http://me:secret@mlflow", "found 'http://***@mlflow'; allowed:"),
        ("MLFLOW_TRACKING_URI", "databricks", "found 'databricks'; allowed: sqlite:///path"),
        ("MLFLOW_TRACKING_URI", "http://mlflow\n", "found 'http://mlflow\\n'; allowed:"),
    ],
)
def test_a_bad_variable_is_named(variable: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        overridden(load(FULL, "p.yaml"), {variable: value})
    assert str(caught.value).startswith(f"{variable}: ")
    assert expected in str(caught.value)
    assert "secret" not in str(caught.value)
