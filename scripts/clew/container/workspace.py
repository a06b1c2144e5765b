"""The unpacked bundle: DVC's settings and the overridden params before the stages run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clew.container.messages import JobError


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
