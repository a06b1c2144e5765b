"""What runs inside a job: pull the data (verified), reproduce the stages, hand results back.

It stands alone: an executor ships this one file beside the source bundle, so a container needs
DVC but not clew. Folders and variables are those of a SageMaker training container:
https://docs.aws.amazon.com/sagemaker/latest/dg/amazon-sagemaker-toolkits.html
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any


def main() -> int:
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    try:
        spec = json.loads((base / "input/config/hyperparameters.json").read_text())["clew_job"]
        run(json.loads(spec), base)
    except Exception as error:
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
        if spec["pull"]:
            say(f"pulling {', '.join(spec['pull'])} from {spec['remote']['url']}")
            repo.pull(spec["pull"], remote=spec["remote"]["name"], force=True)
        reproduce(repo, spec)
        result = push(repo, spec) if spec["push"] else {}
    hand_back(spec, base, result)


def reproduce(repo: Any, spec: dict[str, Any]) -> None:
    force = spec["force"]
    repo.reproduce(
        spec["stages"],
        force=force,
        single_item=force,
        pull=not force,
        run_cache=False,
        allow_missing=not force,
    )


def configure_dvc(folder: Path, remote: dict[str, Any]) -> None:
    """Make DVC work without Git and trust no remote (dvc#5502: unverified pulls)."""
    path = folder / "config.local"
    config = configparser.ConfigParser(interpolation=None)
    config["core"] = {
        "no_scm": "true",
        "analytics": "false",
        "check_update": "false",
        "remote": remote["name"],
    }
    config["cache"] = {"type": "reflink,hardlink,copy"}
    section = f"'remote \"{remote['name']}\"'"
    config[section] = {**remote["options"], "url": remote["url"], "verify": "true"}
    with path.open("w") as file:
        config.write(file)
    path.chmod(0o600)


def find_dvc_folder(root: Path) -> Path:
    """Return the `.dvc` folder that governs the current folder."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".dvc").is_dir():
            return folder / ".dvc"
        if folder == root:
            break
    raise FileNotFoundError("the bundle has no .dvc folder; commit .dvc/config")


def override_params(overrides: dict[str, Any]) -> None:
    """Write `--param` values into the bundle's params.yaml, where the stages read them."""
    if not overrides:
        return
    import yaml

    path = Path("params.yaml")
    params = yaml.safe_load(path.read_text())
    for dotted, value in overrides.items():
        *parents, last = dotted.split(".")
        node = params
        for key in parents:
            node = node[key]
        node[last] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def push(repo: Any, spec: dict[str, Any]) -> dict[str, int]:
    """Push the outputs; count the files whose bytes the remote did not have and those it had."""
    odb = repo.cloud.get_remote_odb(spec["remote"]["name"])
    files = [oid for path in spec["push"] for oid in file_hashes(repo, path)]
    there = set(odb.oids_exist(sorted(set(files))))
    say(f"pushing {', '.join(spec['push'])} to {spec['remote']['url']}")
    repo.push(spec["push"], remote=spec["remote"]["name"])
    new = sum(oid not in there for oid in files)
    return {"pushed": new, "reused": len(files) - new}


def file_hashes(repo: Any, path: str) -> list[str]:
    (out,) = repo.find_outs_by_path(str(Path(path).resolve()))
    obj = out.get_obj()
    if out.hash_info.isdir:
        return [hash_info.value for _, _, hash_info in obj]
    return [out.hash_info.value]


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
        causes.append(str(cause) or type(cause).__name__)
        cause = cause.__cause__
    return ": ".join(dict.fromkeys(causes))[:1024]


def say(text: str) -> None:
    sys.stdout.write(f"clew: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
