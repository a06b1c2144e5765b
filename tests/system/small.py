"""A small pipeline in a repository of its own, with origin and remote, that runs in a second.

Its stages are plain Python without third parties, so what takes time is what is tested.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from tests.preloaded import command

S = TypeVar("S", bound="Small")
PREPARE = """\
import pathlib, sys
import yaml
count = yaml.safe_load(open("params.yaml"))["prepare"]["count"]
out = pathlib.Path("data/prepared"); out.mkdir(parents=True, exist_ok=True)
raw = pathlib.Path("data/raw.txt").read_text().split()
for number in range(count):
    (out / f"{number}.txt").write_text(f"{raw[0]} {number}\\n")
print(f"prepared {count}")
"""
TRAIN = """\
import json, pathlib
import yaml
params = yaml.safe_load(open("params.yaml"))["train"]
files = sorted(pathlib.Path("data/prepared").glob("*.txt"))
model = pathlib.Path("model"); model.mkdir(exist_ok=True)
(model / "weights.json").write_text(json.dumps({"n": len(files), "lr": params["lr"]}))
if params["fail"]:
    raise SystemExit("the loss is NaN")
print(f"trained on {len(files)}")
"""
EVALUATE = """\
import json, pathlib
weights = json.loads(pathlib.Path("model/weights.json").read_text())
accuracy = weights["n"] / 100 + weights["lr"]
pathlib.Path("metrics.json").write_text(json.dumps({"accuracy": accuracy, "n": weights["n"]}))
"""
DVC_YAML = """\
stages:
  prepare:
    cmd: python stages/prepare.py
    deps: [data/raw.txt, stages/prepare.py]
    params: [prepare.count]
    outs: [data/prepared]
  train:
    cmd: python stages/train.py
    deps: [data/prepared, stages/train.py]
    params: [train]
    outs: [model]
  evaluate:
    cmd: python stages/evaluate.py
    deps: [model, stages/evaluate.py]
    metrics: [{metrics.json: {cache: false}}]
"""
PARAMS_YAML = "prepare: {count: 5}\ntrain: {lr: 0.5, fail: false}\n"
PIPELINE_YAML = """\
name: small
data: {stages: [prepare], outputs: [data/prepared], remote: storage}
train:
  stages: [train, evaluate]
  model: model
  metrics: [{path: metrics.json, higher: [accuracy]}]
code: {paths: [stages], lock: uv.lock}
mlflow: {tracking_uri: "sqlite:///.clew/mlflow.db", experiment: small, model: small-model}
gates:
- {metric: accuracy, min: 0.3}
- {metric: accuracy, max_regression: 0.1}
"""
GITIGNORE = ".clew/\n/model\n/metrics.json\n/data/prepared\n"


@dataclass(frozen=True)
class Small:
    """The folder that holds the work tree, its bare origin, the DVC remote and a HOME."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def origin(self) -> Path:
        return self.folder / "origin.git"

    @property
    def storage(self) -> Path:
        return self.folder / "storage"

    @property
    def environment(self) -> dict[str, str]:
        """A user's environment: an identity for Git, and nothing of the machine's own."""
        return {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(self.folder / "home"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "T",
            "GIT_AUTHOR_EMAIL": "t@example.org",
            "GIT_COMMITTER_NAME": "T",
            "GIT_COMMITTER_EMAIL": "t@example.org",
            "DVC_NO_ANALYTICS": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            **self.variables,
        }

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        return self.call("git", *arguments, cwd=cwd).stdout.strip()

    def dvc(self, *arguments: str) -> str:
        return self.call(*command("dvc", arguments, self.environment)).stdout

    def python(self, code: str, *arguments: str) -> str:
        """Run Python code in a process of its own, which is quick to import MLflow and DVC."""
        return self.call(*command("-c", [code, *arguments], self.environment)).stdout

    def call(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=cwd or self.work,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        )

    def clew(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the real command; the exit code is the caller's to look at."""
        return subprocess.run(
            command("clew", arguments, self.environment),
            cwd=cwd or self.work,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def answer(self, *arguments: str) -> Any:
        """Return the JSON that a command answers with; it must succeed."""
        done = self.clew(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.work / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def commit(self, message: str, *, push: bool = True) -> str:
        self.git("add", "-A")
        self.git("commit", "-qm", message)
        if push:
            self.git("push", "-q", "origin", "HEAD")
        return self.git("rev-parse", "HEAD")


def make_small(folder: Path) -> Small:
    """Return a committed and pushed small pipeline whose data was never processed.

    Every path in it is relative, so a copy of the folder is another one.
    """
    small = Small(folder)
    for path in (small.work / "stages", small.work / "data", folder / "home", small.storage):
        path.mkdir(parents=True)
    files = {
        "stages/prepare.py": PREPARE,
        "stages/train.py": TRAIN,
        "stages/evaluate.py": EVALUATE,
        "data/raw.txt": "raw\n",
        "dvc.yaml": DVC_YAML,
        "params.yaml": PARAMS_YAML,
        "pipeline.yaml": PIPELINE_YAML,
        "uv.lock": "version = 1\n",
        ".gitignore": GITIGNORE,
    }
    for name, text in files.items():
        (small.work / name).write_text(text)
    small.git("init", "-q", "--bare", "-b", "main", "origin.git", cwd=folder)
    small.git("init", "-q", "-b", "main")
    small.dvc("init", "-q")
    small.dvc("remote", "add", "-d", "storage", "../storage")
    small.dvc("remote", "modify", "storage", "verify", "true")
    small.git("remote", "add", "origin", "../origin.git")
    small.commit("Start")
    return small


def copied(made: S, folder: Path) -> S:
    """Return a copy of a pipeline and all that belongs to it."""
    shutil.copytree(made.folder, folder / "copy", symlinks=True)
    return replace(made, folder=folder / "copy")
