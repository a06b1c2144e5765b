"""What runs inside a job: pull the data (verified), reproduce the stages, hand results back.

It stands alone: an executor ships this one file beside the source bundle, so a container needs
DVC but not clew. Folders and variables are those of a SageMaker training container:
https://docs.aws.amazon.com/sagemaker/latest/dg/amazon-sagemaker-toolkits.html
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

LIFELINE = "CLEW_LIFELINE"  # a pipe that ends when the local supervisor does
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
FAILED = "the job failed"  # what follows in the log is not the stage's
SHOWN_OBJECTS = 5
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class JobError(Exception):
    """A failure that explains itself."""


def main() -> int:
    gc.set_threshold(100_000)  # the imports of DVC are no garbage
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    if LIFELINE in os.environ:
        hold(int(os.environ.pop(LIFELINE)))
    try:
        spec = json.loads((base / "input/config/hyperparameters.json").read_text())["clew_job"]
        run(json.loads(spec), base)
    except Exception as error:
        say(FAILED)
        if not isinstance(error, JobError):
            traceback.print_exc()
        failure = base / "output/failure"
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(reason(error))
        return 1
    return 0


def run(spec: dict[str, Any], base: Path) -> None:
    """Do the whole job in the unpacked bundle under `base`/code."""
    root = base / "code"
    os.chdir(root / spec["workdir"])
    configure_dvc(find_dvc_folder(root), spec["remote"])
    override_params(spec["params"])
    for name, path in spec["channels"].items():
        os.environ[f"SM_CHANNEL_{name.upper()}"] = str(Path(path).resolve())
    if spec["model"]:
        os.environ["SM_MODEL_DIR"] = str(Path(spec["model"]).resolve())
    from dvc.repo import Repo

    with Repo(".") as repo:
        pull(repo, spec)
        reproduce(repo, spec)
        result = push(repo, spec) if spec["push"] else {}
    hand_back(spec, base, result)


# --- the bundle ----------------------------------------------------------------------------------


def find_dvc_folder(root: Path) -> Path:
    """Return the `.dvc` folder that governs the current folder, never one outside the bundle."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".dvc").is_dir():
            return folder / ".dvc"
        if folder == root.resolve():
            break
    raise JobError("the bundle has no .dvc folder; commit .dvc/config")


def configure_dvc(folder: Path, remote: dict[str, Any]) -> None:
    """Make DVC work without Git and trust no remote (dvc#5502) and no cache but the job's own."""
    from configobj import ConfigObj

    config = ConfigObj(encoding="utf-8")
    config["core"] = {
        "no_scm": "true",
        "analytics": "false",
        "check_update": "false",
        "remote": remote["name"],
    }
    config["cache"] = {"dir": "cache", "type": "reflink,hardlink,copy"}
    section = f'remote "{remote["name"]}"'
    config[section] = {**remote["options"], "url": remote["url"], "verify": "true"}
    path = folder / "config.local"
    path.touch(mode=0o600)
    with path.open("wb") as file:
        config.write(file)


def override_params(overrides: dict[str, Any]) -> None:
    """Write `--param` values into the bundle's params.yaml, where the stages read them."""
    if not overrides:
        return
    from dvc.utils.serialize import modify_yaml  # keeps YAML 1.2 as it is: 1e-4, on, comments

    with modify_yaml("params.yaml") as params:
        for dotted, value in overrides.items():
            *parents, last = dotted.split(".")
            node = params
            for key in parents:
                node = node.get(key) if isinstance(node, dict) else None
            if not isinstance(node, dict) or last not in node:
                raise JobError(f"params.yaml has no {dotted}")
            node[last] = value


# --- data and stages -----------------------------------------------------------------------------


def pull(repo: Any, spec: dict[str, Any]) -> None:
    """Bring and verify what the stages read; JobError names every object that can't be had."""
    paths = [*spec["pull"], *(tracked_inputs(repo, spec) if spec["force"] else ())]
    if not paths:
        return
    from dvc.exceptions import DvcException

    remote = spec["remote"]
    say(f"pulling {', '.join(paths)} from {remote['url']}")
    outs = [out for path in paths for out in tracked(repo, path)]
    if repo.cloud.get_remote_odb(remote["name"]).fs.protocol == "local":
        # DVC deletes a corrupt object from a local remote as it reads it, so look first.
        refuse(bad_objects(repo, outs, remote["name"], cached=False), remote["url"])
    try:
        with counting(outs, repo.cache.local.path):
            repo.pull(paths, remote=remote["name"], force=True)
    except DvcException:
        refuse(bad_objects(repo, outs, remote["name"], cached=True), remote["url"])
        raise


def tracked(repo: Any, path: str) -> list[Any]:
    """Return DVC's outputs of a path, relative to the current folder."""
    found: list[Any] = repo.find_outs_by_path(str(Path(path).resolve()), strict=False)
    return found


def tracked_inputs(repo: Any, spec: dict[str, Any]) -> list[str]:
    """Return the DVC-tracked paths that the stages read and don't make themselves.

    A forced `dvc repro` does not pull them.
    """
    from dvc.exceptions import OutputNotFoundError

    stages = [stage for name in spec["stages"] for stage in repo.stage.collect(name)]
    made = {out.fs_path for stage in stages for out in stage.outs}
    found: list[str] = []
    for dep in (dep for stage in stages for dep in stage.deps):
        try:
            outs = repo.find_outs_by_path(dep.fs_path, strict=False)
        except OutputNotFoundError:
            continue
        if made.isdisjoint(out.fs_path for out in outs):
            found.append(os.path.relpath(dep.fs_path))
    return sorted({path for path in found if path not in spec["pull"]})


def bad_objects(repo: Any, outs: Iterable[Any], remote: str, *, cached: bool) -> list[str]:
    """Return which objects the remote lacks or holds with other bytes; `cached` ones are fine."""
    bad: list[str] = []
    for out in outs:
        odb = repo.cloud.get_remote_odb(remote, hash_name=out.hash_name)
        rows = [(str(out), out.hash_info.value)]
        if out.hash_info.isdir and not problem(odb, rows[0][1]):
            rows = [(f"{out}/{name}", oid) for name, oid in listing(odb, out.hash_info)]
        wanted = [row for row in rows if not (cached and out.cache.exists(row[1]))]
        reasons = ((name, oid, problem(odb, oid)) for name, oid in wanted)
        bad += [f"{name} is {reason} ({oid})" for name, oid, reason in reasons if reason]
    return bad


def listing(odb: Any, hash_info: Any) -> list[tuple[str, str]]:
    from dvc_data.hashfile.tree import Tree

    return [("/".join(key), oid.value) for key, _, oid in Tree.load(odb, hash_info)]


def problem(odb: Any, oid: str) -> str:
    """Return what is wrong with an object of the remote, empty when nothing is."""
    from dvc_data.hashfile.hash import file_md5

    try:
        actual = file_md5(odb.oid_to_path(oid), odb.fs, name=odb.hash_name)
    except FileNotFoundError:
        return "missing"
    return "" if actual == oid.removesuffix(".dir") else "corrupt"


def refuse(bad: list[str], url: str) -> None:
    if bad:
        more = f", and {len(bad) - SHOWN_OBJECTS} more" if len(bad) > SHOWN_OBJECTS else ""
        raise JobError(f"in the DVC remote {url}: {', '.join(bad[:SHOWN_OBJECTS])}{more}")


def reproduce(repo: Any, spec: dict[str, Any]) -> None:
    force = spec["force"]
    stages = [stage for name in spec["stages"] for stage in repo.stage.collect(name)]
    repo.reproduce(
        spec["stages"],
        force=force,
        single_item=force,
        pull=not force,
        run_cache=False,
        # DVC takes a stage that never ran for unchanged when it may lack its outputs.
        allow_missing=not force and all(map(was_run, stages)),
    )


def was_run(stage: Any) -> bool:
    """Tell whether dvc.lock knows the stage."""
    return any(item.hash_info for item in (*stage.deps, *stage.outs))


def push(repo: Any, spec: dict[str, Any]) -> dict[str, int]:
    """Push the outputs; count the files whose bytes the remote did not have and those it had."""
    remote = spec["remote"]
    say(f"pushing {', '.join(spec['push'])} to {remote['url']}")
    new = total = 0
    for out in (out for path in spec["push"] for out in tracked(repo, path)):
        odb = repo.cloud.get_remote_odb(remote["name"], hash_name=out.hash_name)
        files = file_hashes(out)
        total += len(files)
        there = odb.fs.exists([odb.oid_to_path(oid) for oid in files])
        new += there.count(False)
        upload(out, odb)
    return {"pushed": new, "reused": total - new}


def upload(out: Any, odb: Any) -> None:
    """Copy the files that the remote lacks; `dvc push` goes by the listing being there."""
    from dvc_data.hashfile.transfer import transfer
    from fsspec import Callback

    said = Progress("pushed")
    callback = Callback(hooks={"say": lambda size, value, **_: said.at(value, size or 0)})
    result = transfer(
        out.cache, odb, [out.hash_info], cache_odb=out.cache, shallow=False, callback=callback
    )
    if result.failed:
        raise JobError(f"{len(result.failed)} files could not be pushed; run the same again")


def file_hashes(out: Any) -> list[str]:
    if out.hash_info.isdir:
        return [hash_info.value for _, _, hash_info in out.get_obj()]
    return [out.hash_info.value]


# --- progress ------------------------------------------------------------------------------------


class Progress:
    """Says how many files are done of how many: once a second and once a hundredth at most.

    What is over within the first second is not worth a word; else the end is told too.
    """

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._said = 0
        self._next = time.monotonic() + 1

    def at(self, done: int, total: int) -> None:
        now = time.monotonic()
        is_due = now >= self._next and (done - self._said) * 100 >= total
        if is_due or (self._said and done == total):
            self._next, self._said = now + 1, done
            say(f"{self._verb} {done}/{total} files")


@contextlib.contextmanager
def counting(outs: Iterable[Any], cache: str) -> Iterator[None]:
    """Tell a pull's progress by the files in the cache: DVC shows its own to terminals only."""
    total = sum(out.meta.nfiles or 1 for out in outs)
    over = threading.Event()

    def watch() -> None:
        said = Progress("pulled")
        while not over.wait(1):
            found = sum(len(files) for _, _, files in os.walk(cache))
            said.at(min(found, total), total)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


# --- results -------------------------------------------------------------------------------------


def hand_back(spec: dict[str, Any], base: Path, result: dict[str, int]) -> None:
    """Copy the model, the collected files and dvc.lock to where the executor looks for them."""
    output = base / "output/data"
    for path in (*spec["collect"], "dvc.lock"):
        copy(Path(path), output / path)
    if spec["model"]:
        copy(Path(spec["model"]), base / "model")
    (output / "clew-result.json").write_text(json.dumps(result))


def copy(source: Path, target: Path) -> None:
    if not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


def reason(error: BaseException) -> str:
    """Return the chain of causes in one line, SageMaker's FailureReason."""
    causes: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(" ".join(COLOUR.sub("", str(cause)).split()) or type(cause).__name__)
        cause = cause.__cause__
    return ": ".join(dict.fromkeys(causes))[:1024]


# --- processes -----------------------------------------------------------------------------------


def hold(lifeline: int) -> None:
    """Kill the whole job when the process at the other end of the pipe is gone."""
    os.set_inheritable(lifeline, False)
    adopt_orphans()
    threading.Thread(target=_die_with, args=[lifeline], daemon=True).start()


def _die_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    while family := descendants(os.getpid()):
        send(family, signal.SIGKILL)
        time.sleep(0.01)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def adopt_orphans() -> None:
    """Stay the ancestor of everything that is started from here, daemons too (Linux only)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(ancestor: int) -> list[int]:
    """Return the living processes below this one; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    living: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text(errors="replace").rpartition(") ")[2].split()[:2]
        except OSError:
            continue  # it ended in between
        pid = int(path.parent.name)
        children.setdefault(int(parent), []).append(pid)
        if state not in "ZX":
            living.add(pid)
    found = [ancestor]
    for pid in found:
        found += children.get(pid, ())
    return [pid for pid in found[1:] if pid in living]


def send(processes: Iterable[int], number: signal.Signals) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def say(text: str) -> None:
    sys.stdout.write(f"clew: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
