"""dvc.yaml, dvc.lock and *.dvc as DVC and people write them."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from clew import dvclock
from clew.dvcfiles import (
    NoPointer,
    definitions,
    files_of,
    pointers,
    pointers_in,
    untracked,
)
from clew.dvclock import lock_outs
from clew.dvcyaml import MAX_DEPTH, load, scalar
from clew.errors import ConfigError
from clew.identity import Pointer
from tests.gitrepo import OUTPUT, STAGES, dvc_file, dvc_yaml, entry, lock, md5

LOCK = lock({"prepare": {OUTPUT: "one"}, "train": {"model": "m"}})
POINTER = Pointer(OUTPUT, "md5", md5("one"), 10, 2)


def read(
    output: str = OUTPUT,
    stages: str | None = dvc_yaml(STAGES),
    lock: str | None = LOCK,
    own: str | None = None,
) -> Pointer:
    texts = {"dvc.yaml": stages, "dvc.lock": lock, f"{output}.dvc": own}
    assert list(texts) == files_of([output])
    files = {name: None if text is None else text.encode() for name, text in texts.items()}
    (pointer,) = pointers([output], files)
    return pointer


def refusal(**changes: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(**changes)
    return caught.value


# --- dvc.lock --------------------------------------------------------------------------------


def test_a_stage_output() -> None:
    assert read() == POINTER


def test_an_entry_without_hash_is_of_dvc_2() -> None:
    assert read(lock=LOCK.replace("      hash: md5\n", "")).hash == "md5-dos2unix"


def test_an_entry_without_sizes() -> None:
    text = LOCK.replace("      size: 10\n      nfiles: 2\n", "")
    assert read(lock=text) == Pointer(OUTPUT, "md5", md5("one"))


@pytest.mark.parametrize(
    "text",
    [
        yaml.safe_dump(yaml.safe_load(LOCK), default_flow_style=True),
        yaml.safe_dump(yaml.safe_load(LOCK), indent=4),
        LOCK.replace("\n", "\r\n"),
        "# words\n" + LOCK,
        LOCK + "# words\n",
        LOCK.replace("- path: data/prepared", '- path: "data\\u002fprepared"'),
        LOCK.replace("cmd: python prepare.py", "cmd: |\n      a: [\n      'b"),
        LOCK.replace("cmd: python prepare.py", "cmd:\n    - python a.py\n    - python b.py"),
        LOCK.replace("cmd: python train.py", 'cmd: "a\n      b"'),
        LOCK.replace("seed: 1", "seed: [1, 'x']"),
        LOCK.replace("  prepare:\n", "  prepare: &p\n"),
        LOCK + "datasets:\n- name: x\n",
        "\ufeff" + LOCK,
        LOCK.rstrip("\n"),
    ],
)
def test_other_layouts_mean_the_same(text: str) -> None:
    assert read(lock=text) == POINTER


def test_text_that_looks_like_outs_is_no_outs() -> None:
    fake = f'"\n    outs:\n{entry(OUTPUT, "fake")}  x"'
    assert read(lock=LOCK.replace("cmd: python prepare.py", f"cmd: {fake}")) == POINTER


def test_a_former_stage_in_the_lock_is_not_asked() -> None:
    former = lock({"former": {OUTPUT: "other"}, "prepare": {OUTPUT: "one"}})
    assert read(lock=former) == POINTER


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "no dvc.lock"),
        ("", "no mapping at the top"),
        ("[]", "no mapping at the top"),
        (
            lock({"train": {"model": "m"}}),
            "which the stage 'prepare' makes",
        ),
        (lock({"prepare": {"data/other": "x"}}), "no pointer for data/prepared"),
        ("<<<<<<< HEAD\n" + LOCK, "conflict markers"),
        (LOCK.replace("    outs:", "<<<<<<< HEAD\n    outs:", 1), "conflict markers"),
        (LOCK + "    params: [\n", "broken YAML"),
        (LOCK + LOCK.partition("stages:\n")[2], "the key 'prepare' twice"),
        (LOCK.replace("'2.0'", "'1.0'"), "schema '1.0'"),
        (LOCK.replace("schema: '2.0'\n", ""), "schema None"),
        ("schema: '2.0'\nstages: []\n", "no pointer"),
        ("schema: '2.0'\nstages: [1]\n", "`stages` is no mapping"),
        (LOCK.replace("md5: ", "etag: "), "`etag`"),
        (LOCK.replace(f"md5: {md5('one')}", "md5: 12"), "md5: 12"),
        (LOCK.replace(f"md5: {md5('one')}", "md5: nonsense"), "md5: 'nonsense'"),
        ("\x00", "broken YAML"),
    ],
)
def test_locks_that_are_no_use(text: str | None, told: str) -> None:
    assert told in str(refusal(lock=text))


def test_invalid_utf8() -> None:
    files = {"dvc.yaml": dvc_yaml(STAGES).encode(), "dvc.lock": b"\xff" + LOCK.encode()}
    with pytest.raises(ConfigError, match="UTF-8"):
        pointers([OUTPUT], files)


def test_a_missing_pointer_says_what_to_run() -> None:
    error = refusal(lock=None)
    assert isinstance(error, NoPointer)
    assert "clew process" in error.fix


WORDS = st.sampled_from(["prepare", "train", OUTPUT, "a b", "it's", '"', "[", "&x", "1", "- y"])


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), max_size=3), st.data())
def test_cutting_equals_parsing_the_whole(rows: list[tuple[str, str, str]], data: Any) -> None:
    """Whatever lines are mixed into dvc.lock, the fast way and YAML say the same."""
    lines = LOCK.splitlines()
    for name, key, value in rows:
        at = data.draw(st.integers(0, len(lines)))
        indent = " " * data.draw(st.integers(0, 8))
        lines.insert(at, f"{indent}{data.draw(st.sampled_from([name, key + ': ' + value, value]))}")
    text = "\n".join(lines).encode()
    for wanted in ("prepare", "train"):
        try:
            expected = dvclock._outs_of(dvclock._whole(text), wanted.__eq__)
        except ConfigError:
            with pytest.raises(ConfigError):
                lock_outs(text, wanted.__eq__)
        else:
            assert lock_outs(text, wanted.__eq__) == expected


# --- dvc.yaml --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stage",
    [
        "outs: [{data/prepared: {persist: true}}]",
        "outs: [other, data/prepared]",
        "outs: [./data//prepared/]",
        "outs: ['${folder}/prepared']",
        "outs: ['data/${name}', other]",
        "plots: [{data/prepared: {x: a}}]",
        "metrics: [data/prepared]",
    ],
)
def test_ways_to_own_an_output(stage: str) -> None:
    assert read(stages=f"stages:\n  prepare:\n    cmd: x\n    {stage}\n") == POINTER


def test_an_output_relative_to_wdir() -> None:
    stages = "stages:\n  prepare:\n    wdir: data\n    cmd: x\n    outs: [prepared]\n"
    assert read(stages=stages, lock=lock({"prepare": {"prepared": "one"}})) == POINTER
    assert isinstance(refusal(stages=stages), NoPointer)


@pytest.mark.parametrize("kind", ["foreach: [a, b]", "matrix: {item: [a, b]}"])
def test_an_output_of_one_of_many_stages(kind: str) -> None:
    body = "do: {cmd: x, outs: ['data/${item}']}"
    if kind.startswith("matrix"):
        body = "cmd: x\n    outs: ['data/${item}']"
    stages = f"stages:\n  make:\n    {kind}\n    {body}\n"
    text = lock({"make@a": {"data/a": "A"}, "make@b": {"data/b": "B"}})
    assert read("data/b", stages=stages, lock=text).md5 == md5("B")
    assert isinstance(refusal(output="data/c", stages=stages, lock=text), NoPointer)


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        (dvc_yaml({"train": ["model"]}), "dvc.lock disagrees with dvc.yaml"),
        (dvc_yaml({"prepare": ["data/other"]}), "dvc.lock disagrees with dvc.yaml"),
        (None, "dvc.lock disagrees with dvc.yaml"),
        ("stages:\n  prepare:\n    outs: [{data/prepared: {cache: false}}]\n", "`cache: false`"),
        ("stages: 5\n", "no mapping named `stages`"),
        ("words", "no mapping named `stages`"),
        ("stages: {prepare: 5}\n", "'prepare' in dvc.yaml is no mapping"),
        ("stages: {a: {}, a: {}}\n", "the key 'a' twice"),
        ("a: [", "broken YAML"),
    ],
)
def test_stages_that_are_no_use(stages: str | None, told: str) -> None:
    assert told in str(refusal(stages=stages))


def test_untracked_output() -> None:
    error = refusal(output="data/nowhere")
    assert isinstance(error, NoPointer)
    assert "DVC does not track data/nowhere" in error.what


def test_stage_names() -> None:
    found = definitions(dvc_yaml(STAGES).encode())
    assert found.stage("train").name == found.stage("train@a").name == "train"
    with pytest.raises(ConfigError) as caught:
        found.stage("trian")
    assert "'train'" in caught.value.fix
    with pytest.raises(ConfigError, match="has no stage"):
        definitions(None).stage("train")


@pytest.mark.parametrize(
    ("tracked", "told"),
    [
        ("data", "is inside data"),
        (f"{OUTPUT}/train", f"folder above {OUTPUT}/train"),
        ("data/prepaired", "'data/prepaired'"),
        ("unlike", "the message"),
    ],
)
def test_nearest_tracked_path(tracked: str, told: str) -> None:
    assert told in str(untracked(NoPointer("the message"), OUTPUT, [tracked]))


# --- *.dvc -----------------------------------------------------------------------------------


def test_a_dvc_file_comes_first() -> None:
    assert read(own=dvc_file(OUTPUT, "own")).md5 == md5("own")
    assert read(own=dvc_file(OUTPUT, "own"), stages=None, lock=None).md5 == md5("own")


def test_a_dvc_file_of_dvc_2_and_with_wdir() -> None:
    text = f"wdir: ..\nouts:\n- md5: {md5('own')}\n  path: data/prepared\n"
    assert read(own=text) == Pointer(OUTPUT, "md5-dos2unix", md5("own"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no list named `outs`"),
        ("outs: {}", "no list named `outs`"),
        ("outs: [1]", "tracks something else"),
        (dvc_file("data/other", "x"), "tracks something else"),
        (dvc_file(OUTPUT, "x").replace("md5: ", "etag: ", 1), "`etag`"),
        (dvc_file(OUTPUT, "x") + "  cache: false\n", "`cache: false`"),
        ("<<<<<<< HEAD\n", "conflict markers"),
    ],
)
def test_dvc_files_that_are_no_use(text: str, told: str) -> None:
    assert told in str(refusal(own=text))


# --- a job's dvc.lock ------------------------------------------------------------------------


def test_pointers_in_the_lock_of_a_job() -> None:
    stages = dvc_yaml(STAGES).encode()
    assert pointers_in(LOCK.encode(), stages, [OUTPUT, "tracked/by/hand"]) == (POINTER,)
    with pytest.raises(NoPointer):
        pointers_in(lock({"train": {"model": "m"}}).encode(), stages, [OUTPUT])


# --- YAML ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.", 1.0),
        ("010", 10),
        ("0x10", 16),
        ("0o10", 8),
        ("yes", "yes"),
        ("2020-01-01", "2020-01-01"),
        ("1:30", "1:30"),
        ("true", True),
        ("null", None),
        ("", None),
        ("-.inf", float("-inf")),
        ("1" * 5000, float("inf")),
        ("1.2.3", "1.2.3"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert scalar(text) == value


def test_values() -> None:
    text = b"{1: a, b: '1', c: !!str 2, d: [~, {}], <<: {b: 2, e: 3}}"
    assert load(text, "x") == {"1": "a", "b": "1", "c": "2", "d": [None, {}], "e": 3}
    assert load(b"a: &x [1]\nb: *x\n", "x") == {"a": [1], "b": [1]}
    assert load(b"", "x") is None


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 300_000,
        b"a: " + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"a: *b",
        b"? [a]\n: b\n",
        b"a\n---\nb\n",
        b"<<: 5",
        b"a: &a [*a]",
        b"a: &a0 [x, x]\n"
        + b"".join(b"b%d: &a%d [%s]\n" % (n, n, b"*a%d, " % (n - 1) * 9) for n in range(1, 30)),
    ],
)
def test_hostile_yaml_is_refused_at_once(text: bytes) -> None:
    start = time.perf_counter()
    with pytest.raises(ConfigError):
        load(text, "x")
    assert time.perf_counter() - start < 5
