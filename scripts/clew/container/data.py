"""The job's data: pulled and verified before the stages, pushed after them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clew.container.messages import JobError, Progress, counting, say

SHOWN_OBJECTS = 5


def pull(repo: Any, spec: dict[str, Any]) -> None:
    """Bring and verify what the stages read; JobError names every object that can't be had."""
    paths = [*spec["pull"], *(tracked_inputs(repo, spec) if spec["force"] else ())]
    if not paths:
        return
    from dvc.exceptions import DvcException

    remote = spec["remote"]
    say(f"pulling {', '.join(paths)} from the DVC remote '{remote['name']}'")
    outs = [out for path in paths for out in tracked(repo, path)]
    if repo.cloud.get_remote_odb(remote["name"]).fs.protocol == "local":
        # DVC deletes a corrupt object from a local remote as it reads it, so look first.
        refuse(bad_objects(repo, outs, remote["name"], cached=False), remote["name"])
    try:
        with counting(outs, repo.cache.local.path):
            repo.pull(paths, remote=remote["name"], force=True)
    except DvcException:
        refuse(bad_objects(repo, outs, remote["name"], cached=True), remote["name"])
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


def refuse(bad: list[str], remote: str) -> None:
    if bad:
        more = f", and {len(bad) - SHOWN_OBJECTS} more" if len(bad) > SHOWN_OBJECTS else ""
        raise JobError(f"in the DVC remote '{remote}': {', '.join(bad[:SHOWN_OBJECTS])}{more}")


def push(repo: Any, spec: dict[str, Any]) -> dict[str, int]:
    """Push the outputs; count the files whose bytes the remote did not have and those it had."""
    remote = spec["remote"]
    say(f"pushing {', '.join(spec['push'])} to the DVC remote '{remote['name']}'")
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
