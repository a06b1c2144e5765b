"""The whole job, from its specification to its results."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

from clew.container.data import pull, push
from clew.container.messages import FAILED, is_told, reason, say
from clew.container.processes import LIFELINE, hold
from clew.container.ranks import after_the_first, help_out, is_first
from clew.container.secrets import bring_secrets
from clew.container.workspace import (
    Layout,
    configure_dvc,
    find_dvc_folder,
    layout,
    open_bundle,
    override_params,
    read_specification,
    set_environment,
)

RESULT = "clew-result.json"


def main() -> int:
    gc.set_threshold(100_000)  # the imports of DVC are no garbage
    folders = layout()
    if LIFELINE in os.environ:
        hold(int(os.environ.pop(LIFELINE)))
    try:
        run(read_specification(folders), folders)
    except Exception as error:
        say(FAILED)
        if not is_told(error):
            traceback.print_exc()
        if not folders.failure.exists():  # the first to fail on this host is the cause
            write(folders.failure, reason(error))
            write(folders.output / RESULT, json.dumps({"failure": reason(error)}))
        return 1
    return 0


def run(spec: dict[str, Any], folders: Layout) -> None:
    """Do the whole job: the bundle, the data, the stages, the results."""
    source = open_bundle(spec, folders)
    set_environment(spec, folders)
    bring_secrets(spec.get("secrets", {}))
    configure_dvc(find_dvc_folder(source), spec["remote"], folders.code / "cache")
    override_params(spec["params"])
    from dvc.repo import Repo

    with Repo(".") as repo:
        with after_the_first(folders):
            pull(repo, spec)
        if not is_first(folders):
            help_out(repo, spec)
            return
        reproduce(repo, spec)
        result = push(repo, spec) if spec["push"] else {}
    hand_back(spec, folders, result)


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


def hand_back(spec: dict[str, Any], folders: Layout, result: dict[str, int]) -> None:
    """Copy the model, the collected files and dvc.lock to where the executor looks for them."""
    for path in (*spec["collect"], "dvc.lock"):
        copy(Path(path), folders.output / path)
    if spec["model"]:
        model = Path(spec["model"])
        copy(model, folders.base / "model" / (model.name if model.is_file() else ""))
    write(folders.output / RESULT, json.dumps(result))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def copy(source: Path, target: Path) -> None:
    if not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


if __name__ == "__main__":
    sys.exit(main())
