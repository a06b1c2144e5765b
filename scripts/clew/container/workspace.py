"""Where a job works: SageMaker's folders, the unpacked bundle, DVC's settings, the params."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clew.container.messages import JobError

BASE = "/opt/ml"
QUIET = {
    "DVC_NO_ANALYTICS": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass(frozen=True)
class Layout:
    """The folders of a container.

    Training and processing containers have different ones:
    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
    https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
    """

    base: Path
    code: Path  # the bundle and what this package ships in
    specification: Path  # the job as its executor was given it
    output: Path
    failure: Path


def layout() -> Layout:
    base, here = Path(os.environ.get("SAGEMAKER_BASE_DIR", BASE)), Path.cwd()
    training = base / "input/data/clew/job.json"
    if training.exists():
        return Layout(base, here, training, base / "output/data", base / "output/failure")
    processing = base / "processing"
    specification = processing / "input/clew/job.json"
    return Layout(base, here, specification, processing / "output", base / "output/message")


def open_bundle(spec: dict[str, Any], folders: Layout) -> Path:
    """Unpack the commit, go to the pipeline's folder in it; JobError for other bytes.

    Returns the folder of the commit.
    """
    # torchrun starts several of these in one container, and each needs a folder of its own.
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    bundle, source = folders.code / spec["bundle"], folders.code / f"source{rank or ''}"
    found = hashlib.sha256(bundle.read_bytes()).hexdigest()  # file_digest needs Python 3.11
    if found != spec["bundle_sha256"]:
        recorded = spec["bundle_sha256"]
        raise JobError(f"the sha256 of {bundle} is {found}, not {recorded} as recorded")
    with tarfile.open(bundle) as archive:
        archive.extractall(source, filter="data")
    os.chdir(source / spec["workdir"])
    return source


def read_specification(folders: Layout) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(folders.specification.read_text())
    return spec


def set_environment(spec: dict[str, Any], folders: Layout) -> None:
    """Tell the stages where things are, in SageMaker's names, and keep their tools quiet."""
    os.environ.update(QUIET)
    # The job's folder may lie in the user's repository, which is none of its business.
    os.environ["GIT_CEILING_DIRECTORIES"] = str(folders.base)
    for name, path in spec["channels"].items():
        os.environ[f"SM_CHANNEL_{name.upper()}"] = str(Path(path).resolve())
    if spec["model"]:
        os.environ["SM_MODEL_DIR"] = str(Path(spec["model"]).resolve())


def find_dvc_folder(root: Path) -> Path:
    """Return the `.dvc` folder that governs the current folder, never one outside the bundle."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".dvc").is_dir():
            return folder / ".dvc"
        if folder == root.resolve():
            break
    raise JobError("the bundle has no .dvc folder; commit .dvc/config")


def configure_dvc(folder: Path, remote: dict[str, Any], cache: Path) -> None:
    """Make DVC work without Git and trust no remote (dvc#5502) and no cache but the job's own."""
    from configobj import ConfigObj

    config = ConfigObj(encoding="utf-8")
    config["core"] = {
        "no_scm": "true",
        "analytics": "false",
        "check_update": "false",
        "remote": remote["name"],
    }
    config["cache"] = {"dir": str(cache), "type": "reflink,hardlink,copy"}
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
