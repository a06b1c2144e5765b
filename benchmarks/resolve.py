"""How long resolution takes on a long history, beside a walk with one `git show` per commit.

    python benchmarks/resolve.py [--commits 20000] [--touching 5000] [--naive all]

The data comes in at the first commit; after it, only the train stage's part of dvc.lock changes,
so that every commit has to be looked at. The naive walk takes a minute, so it is timed on the
latest commits and extrapolated, unless `--naive all` is given.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import yaml

from clew.adapters.git import GitRepository
from clew.config.model import Code, Data, MLflow, Pipeline, Train
from clew.identity import CommitSha
from clew.project import Project
from clew.resolve import resolve

OUTPUT = "data/prepared"
OTHER_FILES = 60
SAMPLE = 500  # commits for the naive walk
REPEATS = 5

T = TypeVar("T")

DEFINITIONS = f"""\
stages:
  prepare:
    cmd: python scripts/prepare.py
    deps: [data/raw, scripts/prepare.py]
    params: [prepare]
    outs: [{OUTPUT}]
  train:
    cmd: python scripts/train.py
    deps: [{OUTPUT}, scripts/train.py]
    params: [train]
    outs: [model]
    metrics: [metrics.json]
"""
PARAMS = "prepare: {fraction: 0.1}\ntrain: {lr: 0.1, seed: 1}\n"
CONFIGURATION = f"""\
name: bench
data: {{stages: [prepare], outputs: [{OUTPUT}]}}
train: {{stages: [train], model: model, metrics: [metrics.json]}}
code: {{paths: [scripts]}}
mlflow: {{tracking_uri: "sqlite:///.clew/mlflow.db", experiment: bench, model: bench}}
"""
PIPELINE = Pipeline(
    name="bench",
    data=Data((OUTPUT,), ("prepare",)),
    train=Train(("train",), "model", ()),
    code=Code(("scripts",)),
    mlflow=MLflow("", "", ""),
)


def entry(path: str, word: str) -> str:
    digest = hashlib.md5(word.encode()).hexdigest()
    return f"    - path: {path}\n      hash: md5\n      md5: {digest}.dir\n      size: 1000\n"


def lock(number: int) -> str:
    """Return a dvc.lock whose data never changes and whose model does."""
    return (
        "schema: '2.0'\nstages:\n  prepare:\n    cmd: python scripts/prepare.py\n    deps:\n"
        + entry("data/raw", "raw")
        + "    params:\n      params.yaml:\n        prepare.fraction: 0.1\n    outs:\n"
        + entry(OUTPUT, "prepared")
        + "  train:\n    cmd: python scripts/train.py\n    deps:\n"
        + entry(OUTPUT, "prepared")
        + entry("scripts/train.py", f"code {number}")
        + f"    params:\n      params.yaml:\n        train.lr: 0.{number + 1}\n    outs:\n"
        + entry("metrics.json", f"metrics {number}")
        + entry("model", f"model {number}")
    )


def changes(number: int, every: int) -> Iterator[tuple[str, str]]:
    if number == 0:
        fixed = {"dvc.yaml": DEFINITIONS, "params.yaml": PARAMS, "pipeline.yaml": CONFIGURATION}
        yield from fixed.items()
        for file in range(OTHER_FILES):
            yield f"scripts/{file}.py", "x"
    yield f"scripts/{number % OTHER_FILES}.py", str(number)
    if number % every == 0:
        yield "dvc.lock", lock(number)


def make_history(path: Path, commits: int, touching: int) -> None:
    """Write a linear history with `git fast-import`."""
    subprocess.run(["git", "init", "-q", "-b", "main", str(path)], check=True)
    importer = subprocess.Popen(["git", "fast-import", "--quiet"], cwd=path, stdin=subprocess.PIPE)
    stream = importer.stdin
    assert stream is not None
    for number in range(commits):
        date = 1_700_000_000 + 60 * number
        stream.write(b"commit refs/heads/main\ncommitter a <a@b> %d +0000\ndata 1\nx\n" % date)
        for name, text in changes(number, commits // touching):
            content = text.encode()
            stream.write(b"M 100644 inline %s\ndata %d\n" % (name.encode(), len(content)))
            stream.write(content + b"\n")
    stream.close()
    assert importer.wait() == 0
    subprocess.run(["git", "reset", "-q", "--hard"], cwd=path, check=True)


def naive_walk(path: Path, commit: str, most: int) -> tuple[str, int]:
    """Walk as one would at first: `git show` and a YAML parser for each commit."""

    def show(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=path, capture_output=True, check=True)
        return done.stdout.decode()

    def pointer(commit: str) -> object:
        document = yaml.load(show("show", f"{commit}:dvc.lock"), Loader=yaml.CSafeLoader)
        return document["stages"]["prepare"]["outs"]

    wanted, seen = pointer(commit), 1
    while seen < most:
        parents = show("rev-parse", f"{commit}^@").split()
        equal = [parent for parent in parents if pointer(parent) == wanted]
        if not equal:
            break
        commit, seen = equal[0], seen + 1
    return commit, seen


def timed(call: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def best(call: Callable[[], T]) -> tuple[float, T]:
    return min((timed(call) for _ in range(REPEATS)), key=lambda pair: pair[0])


def as_library(path: Path) -> str:
    project = Project(GitRepository.discover(path))
    head = project.repository.commit("HEAD")
    found = resolve(project, PIPELINE, head, executor="local", overrides={})
    return found.data_git_commit_id


def as_process(path: Path) -> str:
    command = Path(sys.executable).with_name("clew")
    done = subprocess.run(
        [command, "resolve", "--json"], cwd=path, capture_output=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr.decode())
    document = yaml.load(done.stdout, Loader=yaml.CSafeLoader)
    return str(document["data_git_commit_id"])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--commits", type=int, default=20_000)
    parser.add_argument("--touching", type=int, default=5_000, help="how many change dvc.lock")
    parser.add_argument("--naive", choices=["sample", "all"], default="sample")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "repo"
        make_history(path, options.commits, options.touching)
        head = GitRepository.discover(path).commit("HEAD")
        compare(path, head, options.commits, options.commits if options.naive == "all" else SAMPLE)


def compare(path: Path, head: CommitSha, commits: int, most: int) -> None:
    """Print the table; exit with 1 when the answers differ."""
    python, _ = best(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    library, ours = best(lambda: as_library(path))
    process, theirs = best(lambda: as_process(path))
    naive, (last, seen) = timed(lambda: naive_walk(path, head, most))
    root = GitRepository.discover(path).commit(f"{head}~{commits - 1}")
    whole = naive / seen * commits
    measured = "measured" if seen == commits else f"extrapolated from {seen} commits: {naive:.2f} s"
    print(f"{commits} commits, best of {REPEATS}\n")
    print(f"  python -c pass                  {python:8.3f} s")
    print(f"  resolve as a library            {library:8.3f} s")
    print(f"  clew resolve --json, process    {process:8.3f} s")
    print(f"  naive: one git show per commit  {whole:8.1f} s  ({measured})")
    print(f"\n  {whole / process:.0f} times faster than naive")
    expected = (
        root if seen == commits else GitRepository.discover(path).commit(f"{head}~{seen - 1}")
    )
    if not (ours == theirs == root and last == expected):
        raise SystemExit(f"the answers differ: {ours}, {theirs}, naive {last}, expected {root}")
    print("  the answers are the same")


if __name__ == "__main__":
    main()
