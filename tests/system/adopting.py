"""DVC repositories of different shapes, none of which has heard of clew."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.system.small import Small

SOURCE = f"example/clew@{'c' * 40}"
TRAIN = """\
import json, pathlib
words = [p.read_text() for p in sorted(pathlib.Path("data").rglob("*.txt"))]
pathlib.Path("model").mkdir(exist_ok=True)
pathlib.Path("model/weights.json").write_text(json.dumps(len(words)))
found = {"test": {"accuracy": 0.9, "loss": 0.3}, "n": 7}
pathlib.Path("metrics.json").write_text(json.dumps(found))
"""
NESTED = {  # raw data by `dvc add`, three stages, nested metrics
    "src/prepare.py": "import shutil; shutil.copytree('raw', 'data', dirs_exist_ok=True)\n",
    "src/train.py": TRAIN.replace(
        'pathlib.Path("metrics.json")', 'pathlib.Path("model/found.json")'
    ),
    "src/evaluate.py": "import shutil; shutil.copy('model/found.json', 'metrics.json')\n",
    "raw/one.txt": "1",
    "poetry.lock": "",
    "dvc.yaml": """\
stages:
  prepare: {cmd: python src/prepare.py, deps: [raw, src/prepare.py], outs: [data]}
  fit: {cmd: python src/train.py, deps: [data, src/train.py], outs: [model]}
  evaluate:
    cmd: python src/evaluate.py
    deps: [model, src/evaluate.py]
    metrics: [{metrics.json: {cache: false}}]
""",
}
SINGLE = {  # one stage, data by `dvc add`, nothing processed
    "train.py": TRAIN,
    "data/one.txt": "1",
    "requirements.txt": "",
    "dvc.yaml": """\
stages:
  train:
    cmd: python train.py
    deps: [data, train.py]
    outs: [model]
    metrics: [{metrics.json: {cache: false}}]
""",
}
MATRIX = {  # templates, foreach and matrix, params in a second file, in a folder of a monorepo
    "learning/split.py": """\
import pathlib, sys
out = pathlib.Path(sys.argv[1]); out.mkdir(parents=True, exist_ok=True)
(out / "rows.txt").write_text(pathlib.Path("raw/all.txt").read_text())
""",
    "learning/train.py": TRAIN,
    "learning/clean.py": "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('x')\n",
    "raw/all.txt": "1",
    "settings.yaml": "regions: [north, south]\nlr: 0.1\npaths: {model: model}\n",
    "params.yaml": "seed: 1\n",
    "uv.lock": "version = 1\n",
    "dvc.yaml": """\
vars: [settings.yaml]
stages:
  split:
    foreach: ${regions}
    do:
      cmd: python learning/split.py data/${item}
      deps: [raw]
      outs: ["data/${item}"]
  clean:
    matrix: {size: [s, m]}
    cmd: python learning/clean.py clean-${item.size}
    deps: [data/north]
    outs: ["clean-${item.size}"]
  train:
    cmd: python -m learning.train
    deps: [data/north, data/south, clean-s]
    params: [seed, {settings.yaml: [lr]}]
    outs: ["${paths.model}"]
    metrics: [{metrics.json: {cache: false}}]
""",
}


def adopting(
    folder: Path, files: Mapping[str, str], *added: str, below: str = "", commit: bool = True
) -> Small:
    """Return a DVC repository with these files, those of `added` under `dvc add`, and a remote."""
    there = Small(folder)
    (folder / "home").mkdir(parents=True)
    there.work.mkdir()
    there.git("init", "-q", "--bare", "-b", "trunk", "origin.git", cwd=folder)
    there.git("init", "-q", "-b", "trunk")
    there.git("remote", "add", "origin", str(there.origin))
    there.dvc("init", "-q")
    there.dvc("remote", "add", "-q", "-d", "storage", str(there.storage))
    for name, text in files.items():
        path = there.work / below / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path_added in added:
        there.dvc("add", "-q", str(Path(below) / path_added))
    if commit:
        if added:
            there.dvc("push", "-q")
        there.commit("Start")
    return there


def init(there: Small, *arguments: str) -> subprocess.CompletedProcess[str]:
    return there.clew("init", "--source", SOURCE, *arguments)


def pipeline(there: Small, below: str = "") -> Any:
    return yaml.safe_load((there.work / below / "pipeline.yaml").read_text())


def states(there: Small, *arguments: str) -> dict[str, str]:
    """Return what `clew init --check` says of each file."""
    done = init(there, "--check", "--json", *arguments)
    assert done.stderr == ""
    return {row["path"]: row["state"] for row in json.loads(done.stdout)["files"]}
