"""DVC's own reading of a repository that clew does not know yet."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clew.adapters.translation import translating
from clew.errors import ClewError, ConfigError
from clew.init.survey import DvcRemote, StageOut, Survey, SurveyedStage
from clew.redaction import without_credentials, without_secrets

ADD_REMOTE = "Add one that everybody reaches: `dvc remote add -d storage s3://…`, and commit it."


def _explained(error: Exception, folder: Path) -> ClewError | None:
    from dvc.exceptions import NotDvcRepoError

    if isinstance(error, NotDvcRepoError):
        return ConfigError(f"{folder} is not in a DVC repository", fix="Run `dvc init`, commit it.")
    said = " ".join(without_credentials(str(error) or type(error).__name__).split())
    return ConfigError(f"DVC can't read this repository: {said}", fix="See what `dvc status` says.")


@translating(_explained)
def survey(folder: Path, top: Path) -> Survey:
    """Return what the DVC repository around a folder holds for the dvc.yaml in it.

    ConfigError when there is no DVC repository, or DVC can't read it.
    """
    from dvc.repo import Repo

    # Without a site cache of its own, DVC would leave a folder in /var/tmp.
    with tempfile.TemporaryDirectory(prefix="clew-") as site:
        core = {"no_scm": True, "site_cache_dir": site}
        with Repo(str(folder), config={"core": core}) as repo:
            stages = list(repo.index.stages)
            here = folder.resolve()
            named = [s for s in stages if Path(str(s.path)).resolve() == here / "dvc.yaml"]
            added = [out for s in stages if s.is_data_source for out in s.outs]
            return Survey(
                stages=tuple(_stages(named, here)),
                added=tuple(sorted(path for path in (_place(o, here) for o in added) if path)),
                variables=tuple(_variables(here / "dvc.yaml")),
                remotes=_remotes(repo),
                default_remote=repo.config["core"].get("remote"),
                config=_relative(Path(repo.dvc_dir).resolve() / "config", top.resolve()),
            )


def _stages(named: Sequence[Any], here: Path) -> Iterator[SurveyedStage]:
    groups: dict[str, list[Any]] = {}
    for stage in named:
        groups.setdefault(stage.name.partition("@")[0], []).append(stage)
    for name, many in groups.items():
        deps = [dep for stage in many for dep in stage.deps]
        params = [dep for dep in deps if hasattr(dep, "params")]
        files = [dep for dep in deps if not hasattr(dep, "params")]
        yield SurveyedStage(
            name=name,
            commands=tuple(dict.fromkeys(c for stage in many for c in _commands(stage.cmd))),
            deps=_places(files, here),
            outs=tuple(_outs(many, here)),
            params=_places(params, here),
        )


def _commands(cmd: Any) -> list[str]:
    return [str(cmd)] if isinstance(cmd, str) else [str(one) for one in cmd or ()]


def _outs(many: Sequence[Any], here: Path) -> Iterator[StageOut]:
    for out in (out for stage in many for out in stage.outs):
        path = _place(out, here)
        if path is not None:
            yield StageOut(path, bool(out.use_cache), bool(out.metric), bool(out.plot))


def _places(items: Sequence[Any], here: Path) -> tuple[str, ...]:
    return tuple(dict.fromkeys(path for path in (_place(i, here) for i in items) if path))


def _place(item: Any, here: Path) -> str | None:
    """Return where it is, relative to the folder; None for what is elsewhere."""
    if item.protocol != "local":
        return None
    path = _relative(Path(item.fs_path), here)
    return None if path.startswith("../") else path


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _variables(file: Path) -> Iterator[str]:
    from dvc.utils.serialize import load_yaml

    for one in load_yaml(str(file)).get("vars") or ():
        if isinstance(one, str):
            yield Path(os.path.normpath(one.partition(":")[0])).as_posix()


def _remotes(repo: Any) -> dict[str, DvcRemote]:
    committed = repo.config.load_one("repo").get("remote", {})
    return {
        str(name): DvcRemote(
            name=str(name),
            url=without_secrets(str(options.get("url", ""))),
            verified=bool(options.get("verify")),
            committed="url" in committed.get(name, {}),
        )
        for name, options in repo.config["remote"].items()
    }


def verified(text: str, remote: str) -> str:
    """Return the text of .dvc/config with `verify = true` for a remote, all else as it was."""
    lines = text.splitlines(keepends=True)
    at = _section(lines, remote)
    end = next((n for n in range(at + 1, len(lines)) if lines[n].lstrip().startswith("[")), None)
    own = [n for n in range(at + 1, end or len(lines)) if _key(lines[n]) == "verify"]
    kept = [line for n, line in enumerate(lines) if n not in own]
    before = kept[at]
    kept[at] = before if before.endswith("\n") else f"{before}\n"
    kept.insert(at + 1, "    verify = true\n")
    return "".join(kept)


def _section(lines: Sequence[str], remote: str) -> int:
    wanted = {f"['remote \"{remote}\"']", f'[remote "{remote}"]'}
    found = (n for n, line in enumerate(lines) if line.split("#")[0].strip() in wanted)
    at = next(found, None)
    if at is None:
        raise ConfigError(
            f".dvc/config has no section of its own for the DVC remote '{remote}'",
            fix=f"Run `dvc remote modify {remote} verify true` and commit .dvc/config.",
        )
    return at


def _key(line: str) -> str:
    return line.partition("=")[0].strip()
