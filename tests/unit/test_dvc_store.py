"""The DVC adapter, with real DVC repositories and a remote in a folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clew.adapters.dvc import DvcStore
from clew.errors import ConfigError, OutsideError, Unverifiable
from clew.identity import Pointer
from clew.ports import Problem

DVC_YAML = """\
stages:
  prepare:
    cmd: cp -r raw data && echo done
    deps: [raw]
    params: [prepare.fraction]
    outs: [data]
  make:
    cmd: echo made > made
    outs: [made]
"""
FILES = {"a": b"alpha\n", "b": b"beta\n", "sub/c": b"gamma\n"}


def dvc(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", *arguments]
    environment = {**os.environ, "DVC_NO_ANALYTICS": "true"}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose data was made and pushed; each test works on a copy."""
    top = tmp_path_factory.mktemp("dvc")
    repo = top / "repo"
    for name, content in FILES.items():
        path = repo / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (repo / "dvc.yaml").write_text(DVC_YAML)
    (repo / "params.yaml").write_text("prepare: {fraction: 0.5}\n")
    dvc(repo, "init", "-q", "--no-scm")
    dvc(repo, "remote", "add", "-d", "storage", "../storage")
    dvc(repo, "remote", "modify", "storage", "verify", "true")
    dvc(repo, "add", "-q", "raw")
    dvc(repo, "repro", "-q")
    dvc(repo, "push", "-q")
    return top


@pytest.fixture
def top(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "top", symlinks=True)


@pytest.fixture
def store(top: Path) -> DvcStore:
    return DvcStore(top / "repo", None)


@pytest.fixture
def data(top: Path) -> Pointer:
    import yaml

    (out,) = yaml.safe_load((top / "repo/dvc.lock").read_text())["stages"]["prepare"]["outs"]
    return Pointer(**out)


def single(content: bytes, path: str = "one") -> Pointer:
    return Pointer(path, "md5", hashlib.md5(content).hexdigest(), len(content))


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def place(top: Path, oid: str, where: str = "storage") -> Path:
    """Return the file of an object in the remote (or the cache), made writable."""
    path = top / where / "files/md5" / oid[:2] / oid[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.chmod(0o644)
    return path


CACHE = "repo/.dvc/cache"


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mode) for path in files}


# --- configuration -------------------------------------------------------------------------------


def test_the_url_of_a_local_remote_is_absolute(top: Path, store: DvcStore) -> None:
    remote = store.remote()
    assert (remote.name, remote.url) == ("storage", str(top / "storage"))
    assert remote.options["verify"].lower() == "true"
    assert "url" not in remote.options


def test_a_pipeline_in_a_subfolder_has_the_same_remote(top: Path) -> None:
    (top / "repo/models").mkdir()
    assert DvcStore(top / "repo/models", "storage").remote().url == str(top / "storage")


def test_a_remote_that_refers_to_another_is_resolved(top: Path) -> None:
    dvc(top / "repo", "remote", "add", "base", "http://127.0.0.1:1/top")
    dvc(top / "repo", "remote", "modify", "base", "user", "reader")
    dvc(top / "repo", "remote", "add", "sub", "remote://base/images")
    remote = DvcStore(top / "repo", "sub").remote()
    assert remote.url == "http://127.0.0.1:1/top/images"
    assert remote.options["user"] == "reader"


def test_a_remote_that_is_not_there_is_named_with_those_that_are(top: Path) -> None:
    with pytest.raises(ConfigError, match=r"no DVC remote named 'nope'; there are: storage"):
        DvcStore(top / "repo", "nope").remote()
    (top / "repo/.dvc/config").write_text("[core]\n    no_scm = True\n")
    with pytest.raises(ConfigError, match=r"no default DVC remote; there are: none"):
        DvcStore(top / "repo", None).remote()


def test_verifies_says_what_dvc_is_told(top: Path, store: DvcStore) -> None:
    assert store.verifies()
    dvc(top / "repo", "remote", "modify", "storage", "verify", "false")
    assert not DvcStore(top / "repo", None).verifies()
    dvc(top / "repo", "remote", "modify", "storage", "-u", "verify")
    assert not DvcStore(top / "repo", None).verifies()


def test_outside_of_a_dvc_repository(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a DVC repository") as caught:
        DvcStore(tmp_path, None).remote()
    assert "dvc init" in caught.value.fix


def test_a_broken_configuration(top: Path) -> None:
    (top / "repo/.dvc/config").write_text("[core\n")
    with pytest.raises(ConfigError, match="DVC's configuration is not usable"):
        DvcStore(top / "repo", None).remote()


def test_check_remote(top: Path, store: DvcStore) -> None:
    store.check_remote()
    dvc(top / "repo", "remote", "add", "odd", "/dev/null/store")
    with pytest.raises(OutsideError, match="the DVC remote /dev/null/store can't be reached"):
        DvcStore(top / "repo", "odd").check_remote()


# --- what is stale -------------------------------------------------------------------------------


def bundle(top: Path) -> Path:
    """Return the repository as a job's bundle has it: without what DVC keeps."""
    folder = top / "bundle"
    ignore = shutil.ignore_patterns("cache", "tmp", "raw", "data", "made")
    return shutil.copytree(top / "repo", folder, ignore=ignore)


def test_nothing_is_stale_though_the_tracked_data_is_not_in_the_bundle(
    top: Path, store: DvcStore, capfd: pytest.CaptureFixture[str]
) -> None:
    source = bundle(top)
    before = set(Path("/var/tmp/dvc/repo").glob("*"))
    assert store.stale_stages(source, ["prepare", "make"]) == []
    assert set(Path("/var/tmp/dvc/repo").glob("*")) <= before, "a folder was left behind"
    assert capfd.readouterr() == ("", "")


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(source: Path) -> None:
        text = (source / file).read_text()
        assert old in text
        (source / file).write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        (replace("params.yaml", "0.5", "0.6"), ["prepare"]),
        (replace("dvc.yaml", "echo made", "echo make"), ["make"]),
        (replace("raw.dvc", "md5: ", "md5: 00"), ["prepare"]),
        (lambda source: (source / "dvc.lock").unlink(), ["prepare", "make"]),
    ],
    ids=["param", "cmd", "dep", "no lock"],
)
def test_stale(
    top: Path,
    store: DvcStore,
    change: Callable[[Path], None],
    stale: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    source = bundle(top)
    change(source)
    assert sorted(store.stale_stages(source, ["prepare", "make"])) == sorted(stale)
    assert capfd.readouterr().out == ""


# --- what the remote holds -----------------------------------------------------------------------


def test_no_problems(top: Path, store: DvcStore, data: Pointer) -> None:
    before = state(top / "storage")
    assert store.problems([data, single(b"made\n", "made")]) == []
    assert state(top / "storage") == before


@pytest.mark.parametrize(
    ("bad", "reason"), [(b"evil\n", "corrupt"), (b"", "truncated"), (None, "missing")]
)
def test_a_bad_file_of_a_directory(
    top: Path, store: DvcStore, data: Pointer, bad: bytes | None, reason: str
) -> None:
    path = place(top, md5(b"gamma\n"))
    path.unlink() if bad is None else path.write_bytes(bad)
    before = state(top / "storage")
    assert store.problems([data]) == [Problem("data/sub/c", reason)]
    assert state(top / "storage") == before, "nothing may be deleted or changed"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [(b"evil!", "corrupt"), (b"mad", "truncated"), (b"", "truncated"), (None, "missing")],
)
def test_a_bad_single_file(top: Path, store: DvcStore, bad: bytes | None, reason: str) -> None:
    path = place(top, md5(b"made\n"))
    path.unlink() if bad is None else path.write_bytes(bad)
    before = state(top / "storage")
    assert store.problems([single(b"made\n", "made")]) == [Problem("made", reason)]
    assert state(top / "storage") == before


@pytest.mark.parametrize(
    ("bad", "reason"), [(b'[{"md5":', "corrupt"), (b"", "truncated"), (None, "missing")]
)
def test_a_bad_list_of_files(
    top: Path, store: DvcStore, data: Pointer, bad: bytes | None, reason: str
) -> None:
    path = place(top, data.md5)
    path.unlink() if bad is None else path.write_bytes(bad)
    before = state(top)
    assert store.problems([data]) == [Problem("data", reason)]
    assert state(top / "storage") == {k: v for k, v in before.items() if "/storage/" in k}


def test_legacy_hashes_ignore_line_ends(top: Path, store: DvcStore) -> None:
    oid = md5(b"one\ntwo\n")
    path = top / "storage" / oid[:2] / oid[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"one\r\ntwo\r\n")
    assert store.problems([Pointer("old.txt", "md5-dos2unix", oid, 10)]) == []


# --- pushing, the cache, the files ---------------------------------------------------------------


def test_push_copies_what_is_missing_also_below_a_listing_that_is_there(
    top: Path, store: DvcStore, data: Pointer, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))

    assert store.push([data], tell) == 0
    place(top, md5(b"beta\n")).unlink()
    assert store.push([data], tell) == 1
    assert told[-1] == (1, 1)
    assert store.problems([data]) == []
    shutil.rmtree(top / "storage")
    assert store.push([data, single(b"made\n", "made")], tell) == 5
    assert store.problems([data]) == []
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("bad", [b"evil\n", None])
def test_push_refuses_what_the_cache_does_not_hold(
    top: Path, store: DvcStore, data: Pointer, bad: bytes | None
) -> None:
    place(top, md5(b"beta\n")).unlink()
    cached = place(top, md5(b"beta\n"), CACHE)
    cached.unlink() if bad is None else cached.write_bytes(bad)
    with pytest.raises(ConfigError, match=md5(b"beta\n")):
        store.push([data], print)
    assert not place(top, md5(b"beta\n")).exists()


def test_in_cache(top: Path, store: DvcStore, data: Pointer) -> None:
    made = single(b"made\n", "made")
    assert store.in_cache([data, made])
    assert not store.in_cache([single(b"never seen")])
    before = state(top / CACHE)
    assert store.in_cache([data])
    assert state(top / CACHE) == before
    place(top, md5(b"beta\n"), CACHE).unlink()
    assert not store.in_cache([data])
    assert store.in_cache([made])


def test_a_corrupt_listing_in_the_cache_does_not_count(
    top: Path, store: DvcStore, data: Pointer
) -> None:
    path = place(top, data.md5, CACHE)
    path.write_bytes(b"[]")
    assert not store.in_cache([data])
    assert path.read_bytes() == b"[]"


def test_a_listing_that_is_nowhere_is_missing_evidence(
    top: Path, store: DvcStore, data: Pointer
) -> None:
    place(top, data.md5, CACHE).unlink()
    place(top, data.md5).write_text(json.dumps([]))
    with pytest.raises(Unverifiable, match="the list of files of data"):
        store.push([data], lambda _done, _total: None)


# --- sizes ---------------------------------------------------------------------------------------


def test_sizes_are_told_by_the_cache_or_else_by_the_remote(top: Path, store: DvcStore) -> None:
    wanted = {md5(content): len(content) for content in FILES.values()}
    absent = md5(b"never there")
    assert store.sizes("md5", [*wanted, absent]) == wanted
    place(top, md5(FILES["a"]), CACHE).unlink()
    assert store.sizes("md5", wanted) == wanted
    place(top, md5(FILES["a"])).unlink()
    assert store.sizes("md5", wanted).keys() == wanted.keys() - {md5(FILES["a"])}
    assert store.sizes("md5", []) == {}
