"""The run fingerprint: equal for the same training, another for any other."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from clew.config.model import Code, Data, Executor, FrameworkImage, Instance, Pipeline, SageMaker
from clew.dvcfiles import definitions
from clew.errors import ConfigError
from clew.fingerprint import Training, parse_overrides, run_fingerprint, training
from clew.identity import CommitSha, DataFingerprint
from clew.project import Project
from tests.gitrepo import GitRepo, isolate, pipeline

STAGES = """\
vars: [more.yaml, {inline: 1}]
stages:
  prepare:
    cmd: python prepare.py
    params: [data]
    outs: [data/prepared]
  train:
    cmd: python train.py --depth ${model.depth} --seed ${inline}
    params: [train, seed]
  evaluate:
    cmd: python evaluate.py
    params: [{custom.json: [top]}, {whole.toml: null}]
"""
FILES = {
    "dvc.yaml": STAGES,
    "params.yaml": "data: {fraction: 0.1}\ntrain: {lr: 1e-3, layers: [8, 4]}\nseed: 1\n"
    "model: {depth: 3}\nunread: 1\n",
    "more.yaml": "x: 1\n",
    "custom.json": '{"top": {"k": 5}, "other": 1}',
    "whole.toml": "[a]\nb = 2\n",
    "src/train.py": "print()\n",
    "src/lib/util.py": "",
    "uv.lock": "versions\n",
    "README": "words\n",
}
PIPELINE = replace(
    pipeline(),
    data=Data(("data/prepared",), ("prepare",)),
    train=replace(pipeline().train, stages=("train", "evaluate")),
    code=Code(("src",), "uv.lock"),
)
DATA = DataFingerprint("d" * 64)


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitRepo:
    isolate(tmp_path, monkeypatch)
    repo = GitRepo(tmp_path / "repo")
    repo.commit(FILES)
    return repo


def of(
    repo: GitRepo,
    changed: Pipeline = PIPELINE,
    executor: str = "local",
    overrides: dict[str, Any] | None = None,
) -> Training:
    return training(
        repo.project(), changed, repo.head, executor=executor, overrides=overrides or {}
    )


def fingerprint(repo: GitRepo, **changes: Any) -> str:
    return of(repo, **changes).fingerprint(DATA, dirty=False)


def refusal(repo: GitRepo, **changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        of(repo, **changes)
    return str(caught.value)


# --- params ----------------------------------------------------------------------------------


def test_params_are_what_the_train_stages_read(repo: GitRepo) -> None:
    assert of(repo).params == {
        "train.lr": 0.001,
        "train.layers": [8, 4],
        "seed": 1,
        "model.depth": 3,
        "custom.json:top.k": 5,
        "whole.toml:a.b": 2,
    }


def test_params_of_a_stage_in_another_folder(repo: GitRepo) -> None:
    text = STAGES.replace("    cmd: python evaluate.py\n", "    cmd: x\n    wdir: src\n")
    repo.commit({"dvc.yaml": text, "src/custom.json": '{"top": 6}', "src/whole.toml": "c = 1"})
    assert of(repo).params["src/custom.json:top"] == 6


def test_a_key_that_is_nowhere_gets_the_nearest_name(repo: GitRepo) -> None:
    repo.commit({"dvc.yaml": STAGES.replace("[train, seed]", "[train.rl]")})
    assert "'train.lr'" in refusal(repo)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"params.yaml": None}, "params.yaml has no 'train'"),
        ({"params.yaml": "a: ["}, "params.yaml is broken YAML"),
        ({"whole.toml": "a ="}, "whole.toml is broken TOML"),
        ({"dvc.yaml": STAGES.replace("whole.toml", "whole.py"), "whole.py": ""}, "can't read"),
        ({"dvc.yaml": None}, "no stage 'train'"),
        ({"uv.lock": None}, "no uv.lock"),
        ({"src/train.py": None, "src/lib/util.py": None}, "no src"),
        ({"more.yaml": None}, "no more.yaml"),
    ],
)
def test_what_is_missing_is_named(
    repo: GitRepo, files: dict[str, str | bytes | None], told: str
) -> None:
    repo.commit(files)
    assert told in refusal(repo)


# --- overrides -------------------------------------------------------------------------------


def test_overrides_are_yaml_scalars() -> None:
    texts = ["train.lr=1e-2", "a=true", "b=x=y", "c='1'", "d=", "e=0.10"]
    expected = {"train.lr": 0.01, "a": True, "b": "x=y", "c": "'1'", "d": None, "e": 0.1}
    assert parse_overrides(texts) == expected
    for text in ("train.lr", "=1", ""):
        with pytest.raises(ConfigError, match="--param"):
            parse_overrides([text])


def test_an_override_replaces_and_changes_the_fingerprint(repo: GitRepo) -> None:
    before = fingerprint(repo)
    assert of(repo, overrides={"train.lr": 0.5}).params["train.lr"] == 0.5
    assert fingerprint(repo, overrides={"train.lr": 0.5}) != before
    assert fingerprint(repo, overrides={"train.lr": 0.001}) == before
    repo.commit({"params.yaml": FILES["params.yaml"].replace("1e-3", "0.5")})
    assert fingerprint(repo) != before
    assert fingerprint(repo, overrides={"train.lr": 0.001}) == before


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("train.rl", "'train.lr'"),
        ("unread", "no train stage reads"),
        ("train", "no train stage reads"),
        ("train.lr.x", "no train stage reads"),
        ("custom.json:top.k", "no train stage reads"),
        ("data.fraction", "it makes other data"),
        ("data", "it makes other data"),
        ("data.new", "it makes other data"),
    ],
)
def test_overrides_that_are_refused(repo: GitRepo, key: str, told: str) -> None:
    assert told in refusal(repo, overrides={key: 1})


def test_a_key_that_a_data_stage_reads_too_is_refused(repo: GitRepo) -> None:
    repo.commit({"dvc.yaml": STAGES.replace("params: [data]", "params: [data, seed]")})
    assert "it makes other data" in refusal(repo, overrides={"seed": 2})
    repo.commit({"dvc.yaml": STAGES.replace("params: [data]", "params: [{params.yaml: }]")})
    assert "it makes other data" in refusal(repo, overrides={"train.lr": 2})


# --- what counts, and what does not ----------------------------------------------------------


@pytest.mark.parametrize(
    "files",
    [
        {"README": "other\n"},
        {"params.yaml": FILES["params.yaml"].replace("unread: 1", "unread: 2")},
        {"params.yaml": FILES["params.yaml"].replace("fraction: 0.1", "fraction: 0.2")},
        {"params.yaml": "# words\n" + FILES["params.yaml"].replace("1e-3", "0.001")},
        {"custom.json": '{"other": 2, "top": {"k": 5}}'},
        {"dvc.yaml": "# words\n" + STAGES},
        {"dvc.yaml": STAGES.replace("python prepare.py", "python other.py")},
        {"dvc.yaml": STAGES.replace("  train:\n", "  train:\n    desc: words\n")},
        {"dvc.lock": "schema: '2.0'\nstages: {}\n"},
    ],
)
def test_same_training(repo: GitRepo, files: dict[str, str | bytes | None]) -> None:
    before = fingerprint(repo)
    repo.commit(files)
    assert fingerprint(repo) == before


@pytest.mark.parametrize(
    "files",
    [
        {"src/train.py": "print(1)\n"},
        {"src/lib/util.py": "1\n"},
        {"src/new.py": ""},
        {"uv.lock": "other\n"},
        {"params.yaml": FILES["params.yaml"].replace("seed: 1", "seed: 2")},
        {"params.yaml": FILES["params.yaml"].replace("depth: 3", "depth: 4")},
        {"params.yaml": FILES["params.yaml"].replace("[8, 4]", "[4, 8]")},
        {"custom.json": '{"top": {"k": 6}}'},
        {"whole.toml": "[a]\nb = 3\n"},
        {"more.yaml": "x: 2\n"},
        {"dvc.yaml": STAGES.replace("inline: 1", "inline: 2")},
        {"dvc.yaml": STAGES.replace("python evaluate.py", "python other.py")},
        {"dvc.yaml": STAGES.replace("    params: [train, seed]", "    params: [train]")},
    ],
)
def test_another_training(repo: GitRepo, files: dict[str, str | bytes | None]) -> None:
    before = fingerprint(repo)
    repo.commit(files)
    assert fingerprint(repo) != before


def sagemaker(image: str | FrameworkImage) -> SageMaker:
    return SageMaker("role", "eu-west-1", "s3://bucket", image, Instance("ml.m5.large"))


def test_the_environment_counts(repo: GitRepo) -> None:
    images: list[str | FrameworkImage] = ["repo/image@sha256:aa", "repo/image@sha256:bb"]
    images.append(FrameworkImage("pytorch", "2.6"))
    changed = [
        replace(PIPELINE, executor=Executor("sagemaker", sagemaker=sagemaker(image)))
        for image in images
    ]
    prints = [fingerprint(repo, changed=one, executor="sagemaker") for one in changed]
    prints.append(fingerprint(repo))
    prints.append(fingerprint(repo, changed=replace(PIPELINE, code=Code(("src",)))))
    assert len(set(prints)) == len(prints)
    assert fingerprint(repo, changed=changed[0]) == fingerprint(repo), "not run on SageMaker"


def test_the_order_of_names_does_not_count(repo: GitRepo) -> None:
    turned = replace(PIPELINE, train=replace(PIPELINE.train, stages=("evaluate", "train")))
    assert fingerprint(repo, changed=turned) == fingerprint(repo)


def test_the_fingerprint_never_changes_between_releases() -> None:
    """A change here makes every finished training be paid for again."""
    arguments: tuple[Any, ...] = (DATA, {"train.lr": 0.1}, "c" * 64, {"executor": "local"})
    clean = run_fingerprint(*arguments, dirty=False)
    assert clean == "8ceb2d0b06b10e0f2f986f5ca312343ab95152860c2d7ab0e28a39230be1a912"
    assert run_fingerprint(*arguments, dirty=True) != clean


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["train", "seed", "data/x", "${a}"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["train", "custom.json", "do", "outs"]), inner, max_size=2
        )
    ),
    max_leaves=6,
)
KEYS = ("params", "outs", "metrics", "plots", "vars", "wdir", "do", "foreach", "cmd")


class InMemory:
    """The files of one commit, as `_Files` reads them from a repository."""

    def __init__(self, texts: dict[str, bytes]) -> None:
        self._texts = texts

    def read(self, commit: str, paths: list[str]) -> dict[str, bytes | None]:
        return {path: self._texts.get(path) for path in paths}

    def object_ids(self, objects: list[tuple[str, str]]) -> list[str | None]:
        return ["0" * 40 for _ in objects]


@given(st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=4), st.none() | ANYTHING, ANYTHING)
def test_any_dvc_yaml_is_read_or_refused(stage: Any, variables: Any, values: Any) -> None:
    document = {"stages": {"train": stage, "evaluate": {}, "prepare": stage}, "vars": variables}
    texts = {"dvc.yaml": document, "params.yaml": values, "custom.json": values}
    repository: Any = InMemory({name: yaml.safe_dump(v).encode() for name, v in texts.items()})
    with contextlib.suppress(ConfigError):
        training(Project(repository), PIPELINE, CommitSha("c"), executor="local", overrides={})
    with contextlib.suppress(ConfigError):
        definitions(yaml.safe_dump(document).encode()).owner("data/prepared")
