"""Resolution on random histories, held against a slow oracle that is obviously right."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clew.errors import ConfigError
from clew.resolve import FIRST_CHUNK, data_commit_of
from tests.gitrepo import GitRepo, dvc_file, dvc_yaml, entry, git, isolate, lock, md5, pipeline

OUTPUTS = ("data/prepared", "extra")
STAGES = {"prepare": [OUTPUTS[0]], "train": ["model"]}
HIDDEN = 'cmd: "python\n    outs:\n{fake}  x"\n    deps:\n'  # a quoted text looks like outs


@pytest.fixture(autouse=True, scope="module")
def _isolated() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        isolate(Path(folder), monkeypatch)
        yield


@dataclass(frozen=True)
class Files:
    """What one commit holds; None is a file that is not there."""

    word: str | None  # what dvc.lock says about the data
    model: str  # the part of dvc.lock that is not data
    style: str  # how dvc.lock is written
    own: str | None  # what data/prepared.dvc says
    extra: str | None  # what extra.dvc says
    stages: str  # what dvc.yaml is like

    def contents(self) -> dict[str, str | None]:
        own, extra = self.own, self.extra
        return {
            "dvc.lock": self.word and LOCKS[self.style](self.word, self.model),
            "dvc.yaml": DEFINITIONS[self.stages],
            "data/prepared.dvc": None if own is None else dvc_file(OUTPUTS[0], own),
            "extra.dvc": None if extra is None else dvc_file(OUTPUTS[1], extra),
        }


def written(word: str, model: str) -> str:
    return lock({"prepare": {OUTPUTS[0]: word}, "train": {"model": model}})


def flow_style(word: str, model: str) -> str:
    outs = [{"path": OUTPUTS[0], "hash": "md5", "md5": md5(word), "size": 10, "nfiles": 2}]
    stages = {"prepare": {"cmd": model, "outs": outs}}
    return yaml.safe_dump({"schema": "2.0", "stages": stages}, default_flow_style=True)


def fake_in_quotes(word: str, model: str) -> str:
    fake = HIDDEN.format(fake=entry(OUTPUTS[0], model))
    return written(word, model).replace("cmd: python prepare.py\n    deps:\n", fake)


def stale_stage_left_behind(word: str, model: str) -> str:
    head = "schema: '2.0'\nstages:\n"
    before = lock({"former": {OUTPUTS[0]: model}})
    return before + written(word, model).removeprefix(head)


LOCKS: dict[str, Callable[[str, str], str]] = {
    "written": written,
    "legacy": lambda word, model: written(word, model).replace("      hash: md5\n", ""),
    "flow": flow_style,
    "quoted": fake_in_quotes,
    "stale": stale_stage_left_behind,
    "tabs": lambda word, model: written(word, model) + "#\ta comment\n",
    "conflict": lambda word, model: "<<<<<<< HEAD\n" + written(word, model),
    "broken": lambda word, model: written(word, model) + "    params: [\n",
    "other stage only": lambda word, model: lock({"train": {"model": model}}),
}
DEFINITIONS: dict[str, str | None] = {
    "usual": dvc_yaml(STAGES),
    "commented": "# words\n" + dvc_yaml(STAGES),
    "without prepare": dvc_yaml({"train": ["model"]}),
    "absent": None,
}

mostly = st.sampled_from
words = mostly(["a", "a", "b"])
trees = st.builds(
    Files,
    word=mostly(["a", "a", "a", "b", None]),
    model=mostly(["m", "n", "o"]),
    style=mostly([*["written"] * 8, *LOCKS]),
    own=mostly([None, None, None, None, "a", "b"]),
    extra=mostly(["a", "a", "a", "a", "b", None]),
    stages=mostly([*["usual"] * 8, *DEFINITIONS]),
)


@dataclass(frozen=True)
class Commit:
    parents: tuple[int, ...]
    files: Files
    time: int


@st.composite
def histories(draw: st.DrawFn, largest: int = 12) -> list[Commit]:
    """Draw commits in an order where parents come first; clocks go as they like."""
    commits: list[Commit] = []
    for number in range(draw(st.integers(1, largest))):
        recent = st.integers(max(0, number - 4), max(0, number - 1))
        count = draw(mostly([1, 1, 1, 2, 2, 3])) if number else 0
        parents = tuple(dict.fromkeys(draw(recent) for _ in range(count)))
        usual = Files("a", "m", "written", None, "a", "usual")
        before = [commits[parent].files for parent in parents] or [usual]
        files = draw(mostly([*before, *before]) | trees)
        commits.append(Commit(parents, files, draw(st.integers(1, 50))))
    return commits


def build(path: Path, commits: list[Commit]) -> GitRepo:
    """Write a history with `git fast-import`; its last commit is main."""
    repo = GitRepo(path)
    stream = bytearray()
    for number, commit in enumerate(commits):
        stream += b"commit refs/heads/c%d\nmark :%d\n" % (number, number + 1)
        stream += b"committer a <a@b> %d +0000\ndata 1\nx\n" % (1_700_000_000 + commit.time)
        for position, parent in enumerate(commit.parents):
            stream += b"%s :%d\n" % (b"merge" if position else b"from", parent + 1)
        stream += b"deleteall\n"
        for name, text in (commit.files.contents() | {"n": str(number)}).items():
            if text is not None:
                content = text.encode()
                stream += b"M 100644 inline %s\ndata %d\n" % (name.encode(), len(content))
                stream += content + b"\n"
    git(path, "fast-import", "--quiet", stdin=bytes(stream))
    repo.git("update-ref", "refs/heads/main", f"refs/heads/c{len(commits) - 1}")
    return repo


# --- the oracle ------------------------------------------------------------------------------


def show(repo: GitRepo, commit: str, name: str) -> Any:
    """Return a file of a commit as YAML, None when it is not there."""
    done = subprocess.run(
        ["git", "show", f"{commit}:{name}"], cwd=repo.path, capture_output=True, check=False
    )
    return yaml.safe_load(done.stdout.decode()) if done.returncode == 0 else None


def oracle_pointers(repo: GitRepo, commit: str) -> list[tuple[Any, ...]] | None:
    """Return the pointers of both outputs, None when they can't be read."""
    try:
        found = [oracle_pointer(repo, commit, output) for output in OUTPUTS]
    except yaml.YAMLError:
        return None
    return None if None in found else [pointer for pointer in found if pointer is not None]


def oracle_pointer(repo: GitRepo, commit: str, output: str) -> tuple[Any, ...] | None:
    own = show(repo, commit, f"{output}.dvc")
    if own is not None:
        return identity(own["outs"][0])
    owners = [
        name
        for name, stage in (show(repo, commit, "dvc.yaml") or {"stages": {}})["stages"].items()
        if output in stage["outs"]
    ]
    locked = (show(repo, commit, "dvc.lock") or {"stages": {}})["stages"]
    for owner in owners:
        for out in locked.get(owner, {}).get("outs", []):
            if out["path"] == output:
                return identity(out)
    return None


def identity(out: dict[str, Any]) -> tuple[Any, ...]:
    return out.get("hash", "md5-dos2unix"), out["md5"], out.get("size"), out.get("nfiles")


def oracle(repo: GitRepo, commit: str) -> str | None:
    """Return the data commit by the rule as it is written, one step after the other."""
    wanted = oracle_pointers(repo, commit)
    if wanted is None:
        return None
    current = commit
    while True:
        parents = repo.git("show", "-s", "--format=%P", current).split()
        equal = [parent for parent in parents if oracle_pointers(repo, parent) == wanted]
        if not equal:
            return current
        current = equal[0]


def answer(repo: GitRepo, revision: str) -> str | None:
    project = repo.project()
    commit = project.repository.commit(revision)
    try:
        return data_commit_of(project, pipeline(*OUTPUTS), commit).commit
    except ConfigError:
        return None


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories())
def test_random_histories(commits: list[Commit]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        repo = build(folder / "repo", commits)
        assert answer(repo, "main") == oracle(repo, repo.git("rev-parse", "main"))
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("parents", [1, 2])
def test_histories_longer_than_a_chunk(tmp_path: Path, parents: int) -> None:
    """The state is carried from one chunk to the next, along first and along second parents."""
    usual, other = (Files(word, "m", "written", None, "a", "usual") for word in "ab")
    commits = [Commit((), usual, 0)]
    for number in range(1, FIRST_CHUNK * 2):
        before = (number - 1,) if parents == 1 else (0, number - 1)
        files = Files("a", str(number % 7), "written", None, "a", "usual")
        commits.append(Commit(tuple(dict.fromkeys(before)), files, number))
    if parents == 2:
        commits[0] = Commit((), other, 0)
    repo = build(tmp_path / "repo", commits)
    expected = repo.git("rev-parse", "c0" if parents == 1 else "c1")
    assert answer(repo, "main") == expected


@pytest.mark.parametrize(("style", "stages"), list(itertools.product(LOCKS, DEFINITIONS)))
def test_every_way_to_write_them(tmp_path: Path, style: str, stages: str) -> None:
    """Each kind of dvc.lock and dvc.yaml between two usual commits with the same data."""
    usual = Files("a", "m", "written", None, "a", "usual")
    odd = Files("a", "n", style, None, "a", stages)
    commits = [Commit((), usual, 1), Commit((0,), odd, 2), Commit((1,), usual, 3)]
    repo = build(tmp_path / "repo", commits)
    for revision in ("c1", "c2"):
        assert answer(repo, revision) == oracle(repo, repo.git("rev-parse", revision))
