"""Real Git repositories in temporary folders, and the DVC files that they hold."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clew.adapters.git import GitRepository
from clew.config.model import Code, Data, MLflow, Pipeline, Train
from clew.identity import CommitSha
from clew.project import Project

OUTPUT = "data/prepared"
STAGES = {"prepare": [OUTPUT], "train": ["model"]}
CONFIG = """\
[user]
name = Tester
email = tester@example.com
[init]
defaultBranch = main
[protocol "file"]
allow = always
[advice]
detachedHead = false
"""


def isolate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep git away from the configuration of whoever runs the tests."""
    config = folder / "home" / "gitconfig"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(CONFIG)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(config.parent))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, input=stdin, capture_output=True, check=False
    )
    assert done.returncode == 0, f"git {arguments}: {done.stderr.decode()}"
    return done.stdout.decode().strip()


class GitRepo:
    """A repository that tests write with git's own commands and read with clew's adapter."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.mkdir(parents=True)
            self.git("init", "-q")

    def git(self, *arguments: str) -> str:
        return git(self.path, *arguments)

    def write(self, files: Mapping[str, str | bytes | None]) -> None:
        """Write files, delete those whose content is None."""
        for name, content in files.items():
            file = self.path / name
            if content is None:
                file.unlink(missing_ok=True)
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(
        self, files: Mapping[str, str | bytes | None] | None = None, message: str = "change"
    ) -> CommitSha:
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head

    @property
    def head(self) -> CommitSha:
        return CommitSha(self.git("rev-parse", "HEAD"))

    @property
    def repository(self) -> GitRepository:
        return GitRepository.discover(self.path)

    def project(self, folder: str = "") -> Project:
        return Project(self.repository, folder)

    def clone(self, path: Path, *options: str) -> GitRepo:
        git(self.path.parent, "clone", "-q", *options, f"file://{self.path}", str(path))
        return GitRepo(path)

    def publish(self, path: Path) -> Path:
        """Make a bare origin, push everything to it, and return it."""
        git(self.path.parent, "clone", "-q", "--bare", str(self.path), str(path))
        self.git("remote", "add", "origin", f"file://{path}")
        self.git("fetch", "-q", "origin")
        return path


def md5(word: str) -> str:
    """Return the digest of a directory that stands for a word."""
    return hashlib.md5(word.encode()).hexdigest() + ".dir"


def entry(path: str, word: str, hash_name: str | None = "md5") -> str:
    name = f"      hash: {hash_name}\n" if hash_name else ""
    return f"    - path: {path}\n{name}      md5: {md5(word)}\n      size: 10\n      nfiles: 2\n"


def lock(stages: Mapping[str, Mapping[str, str]]) -> str:
    """Return a dvc.lock as DVC writes it: stage -> out -> a word for its content."""
    text = "schema: '2.0'\nstages:\n"
    for stage, outs in stages.items():
        text += f"  {stage}:\n    cmd: python {stage}.py\n    deps:\n{entry('raw', 'raw')}"
        text += "    params:\n      params.yaml:\n        seed: 1\n    outs:\n"
        text += "".join(entry(path, word) for path, word in outs.items())
    return text


def dvc_yaml(stages: Mapping[str, Iterable[str]]) -> str:
    """Return a dvc.yaml: stage -> outs."""
    text = "stages:\n"
    for stage, outs in stages.items():
        text += f"  {stage}:\n    cmd: python {stage}.py\n    outs:\n"
        text += "".join(f"    - {path}\n" for path in outs)
    return text


def dvc_file(path: str, word: str) -> str:
    name = path.rpartition("/")[2]
    return f"outs:\n- md5: {md5(word)}\n  size: 10\n  nfiles: 2\n  hash: md5\n  path: {name}\n"


def data(word: str, model: str = "m", output: str = OUTPUT) -> dict[str, str]:
    """Return the files of a pipeline whose data and model have these contents."""
    return {
        "dvc.yaml": dvc_yaml({"prepare": [output], "train": ["model"]}),
        "dvc.lock": lock({"prepare": {output: word}, "train": {"model": model}}),
        "src/train.py": "print()\n",
    }


def pipeline(*outputs: str, **changes: Any) -> Pipeline:
    whole = Pipeline(
        name="fashion",
        data=Data(outputs or (OUTPUT,)),
        train=Train(("train",), "model", ()),
        code=Code(("src",)),
        mlflow=MLflow("", "", ""),
    )
    return replace(whole, **changes)
