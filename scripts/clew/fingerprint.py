"""The run fingerprint: everything that decides what a training makes, by content."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any

from clew.config.model import Pipeline
from clew.dvcfiles import DEFINITIONS, Definitions, Stage, definitions
from clew.dvcyaml import load, scalar
from clew.errors import ConfigError
from clew.identity import CommitSha, DataFingerprint, RunFingerprint, digest
from clew.project import Project

PARAMS = "params.yaml"
TEMPLATE = re.compile(r"\$\{\s*(?P<key>[^}\s]+)\s*\}")
SEPARATOR = "."


@dataclass(frozen=True)
class Training:
    """What a commit's train stages are, apart from the data."""

    params: Mapping[str, Any]
    code_digest: str
    environment: Mapping[str, Any]

    def fingerprint(self, data: DataFingerprint, *, dirty: bool) -> RunFingerprint:
        return run_fingerprint(data, self.params, self.code_digest, self.environment, dirty=dirty)


def run_fingerprint(
    data: DataFingerprint,
    params: Mapping[str, Any],
    code_digest: str,
    environment: Mapping[str, Any],
    *,
    dirty: bool,
) -> RunFingerprint:
    """Return the identity of a training; one on a dirty tree never equals one on a commit."""
    parts = {
        "data_fingerprint": data,
        "params": dict(params),
        "code": code_digest,
        "environment": dict(environment),
    }
    return RunFingerprint(digest(parts | ({"dirty": True} if dirty else {})))


def training(
    project: Project,
    pipeline: Pipeline,
    commit: CommitSha,
    *,
    executor: str,
    overrides: Mapping[str, Any],
) -> Training:
    """Return what the train stages at a commit are; ConfigError where something is missing."""
    files = _Files(project, commit)
    stages = definitions(files.text(DEFINITIONS))
    return Training(
        params=resolved_params(files, pipeline, stages, overrides),
        code_digest=_code_digest(files, pipeline, stages),
        environment=_environment(files, pipeline, executor),
    )


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """Return `train.lr=0.1` as keys and YAML scalars; ConfigError when there is no `=`."""
    overrides: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ConfigError(f"found --param {text!r}", fix="Write --param <key>=<value>.")
        overrides[key] = scalar(value)
    return overrides


def resolved_params(
    files: _Files, pipeline: Pipeline, stages: Definitions, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the train stages read, flattened as `train.lr`, other files' as `file:key`.

    Raises ConfigError for a key that no file has, and for an override that no train stage reads or
    that would make other data.
    """
    params: dict[str, Any] = {}
    for read in _reads(pipeline.train.stages, stages):
        document = files.parsed(read.file)
        name = f"{read.file}:" if read.file != PARAMS else ""
        if read.key is None:
            params |= _flat(document, name)
        elif (value := _look_up(document, read.key)) is not MISSING:
            params |= _flat({read.key: value}, name)
        elif not read.from_template:
            raise _no_param(read, document)
    made = [read for read in _reads(pipeline.data.stages, stages) if read.file == PARAMS]
    for key in overrides:
        _refuse_override(key, params, made)
    return params | dict(overrides)


@dataclass(frozen=True)
class _Read:
    """One key of a params file that a stage reads, or the whole file."""

    stage: str
    file: str
    key: str | None
    from_template: bool = False  # `${…}` may name an item or a variable as well

    def overlaps(self, key: str) -> bool:
        mine = "" if self.key is None else self.key + SEPARATOR
        return f"{key}{SEPARATOR}".startswith(mine) or mine.startswith(f"{key}{SEPARATOR}")


MISSING = object()


def _reads(names: Sequence[str], stages: Definitions) -> Iterator[_Read]:
    for name in names:
        stage = stages.stage(name)
        if PARAMS in stage.deps():
            yield _Read(name, PARAMS, None)
        for item in stage.listed("params"):
            for file, keys in item.items() if isinstance(item, dict) else [(PARAMS, [item])]:
                if not isinstance(keys or [], list):
                    raise ConfigError(f"the stage '{name}' in dvc.yaml has no list of {file} keys")
                for key in keys or [None]:
                    yield _Read(name, stage.place(file), None if key is None else str(key))
        for text in _texts(stage.definition):
            for key in TEMPLATE.findall(text):
                yield _Read(name, PARAMS, key.partition("[")[0], from_template=True)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in (*value, *value.values()) if isinstance(value, dict) else value:
            yield from _texts(item)


def _look_up(document: Any, key: str) -> Any:
    for part in key.split(SEPARATOR):
        if not isinstance(document, dict) or part not in document:
            return MISSING
        document = document[part]
    return document


def _flat(document: Any, prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items() if isinstance(document, dict) else ():
        inner = _flat(value, f"{prefix}{key}{SEPARATOR}")
        flat |= inner or {f"{prefix}{key}": value}
    return flat


def _no_param(read: _Read, document: Any) -> ConfigError:
    near = get_close_matches(str(read.key), _flat(document, ""), 1)
    return ConfigError(
        f"{read.file} has no '{read.key}', which the stage '{read.stage}' in dvc.yaml reads",
        fix=f"Did you mean '{near[0]}'?" if near else f"Add it to {read.file}.",
    )


def _refuse_override(key: str, params: Mapping[str, Any], made: Sequence[_Read]) -> None:
    for read in made:
        if read.overlaps(key):
            raise ConfigError(
                f"--param {key}: the data stage '{read.stage}' reads it",
                fix=f"Change it in {PARAMS} and commit: it makes other data.",
            )
    if key not in params or ":" in key:
        own = [name for name in params if ":" not in name]
        near = get_close_matches(key, own, 1)
        raise ConfigError(
            f"--param {key}: no train stage reads this key of {PARAMS}",
            fix=f"Did you mean '{near[0]}'?" if near else f"They read: {', '.join(own) or 'none'}.",
        )


def _code_digest(files: _Files, pipeline: Pipeline, stages: Definitions) -> str:
    train = [stages.stage(name) for name in pipeline.train.stages]
    included = [(item, item) for item in stages.variables]
    included += [(item, stage.place(str(item))) for stage in train for item in stage.listed("vars")]
    files_of_vars = [path.partition(":")[0] for item, path in included if isinstance(item, str)]
    parts = {
        "files": files.ids([*pipeline.code.paths, *files_of_vars], "as training code"),
        "stages": {stage.name: _essence(stage) for stage in train},
        "vars": list(stages.variables),
    }
    return digest(parts)


def _essence(stage: Stage) -> dict[str, Any]:
    """Return a stage's definition without what DVC only shows."""
    return {key: value for key, value in stage.definition.items() if key not in ("desc", "meta")}


def _environment(files: _Files, pipeline: Pipeline, executor: str) -> dict[str, Any]:
    environment: dict[str, Any] = {"executor": executor}
    if pipeline.code.lock is not None:
        environment["lock"] = files.ids([pipeline.code.lock], "as code.lock")[pipeline.code.lock]
    if executor == "sagemaker" and pipeline.executor.sagemaker is not None:
        settings = pipeline.executor.sagemaker
        image = settings.image
        environment["image"] = image if isinstance(image, str) else asdict(image)
        if settings.environment:
            environment["variables"] = dict(settings.environment)
    return environment


class _Files:
    """The pipeline's files at one commit."""

    def __init__(self, project: Project, commit: CommitSha) -> None:
        self._project = project
        self._commit = commit
        self._texts: dict[str, bytes | None] = {}

    def text(self, name: str) -> bytes | None:
        if name not in self._texts:
            names = {name, DEFINITIONS, PARAMS} - self._texts.keys()  # most need no others
            paths = {self._project.path(wanted): wanted for wanted in names}
            found = self._project.repository.read(self._commit, list(paths))
            self._texts |= {paths[path]: text for path, text in found.items()}
        return self._texts[name]

    def parsed(self, name: str) -> Any:
        """Return the value of a params file; an absent one has no keys."""
        text = self.text(name)
        if text is None:
            return {}
        match PurePosixPath(name).suffix:
            case ".yaml" | ".yml" | ".json":
                return load(text, name)
            case ".toml":
                return _toml(text, name)
        raise ConfigError(
            f"a stage in dvc.yaml reads params from {name}, which clew can't read",
            fix="Use a YAML, JSON or TOML file.",
        )

    def ids(self, names: Sequence[str], role: str) -> dict[str, str]:
        """Return the blob or tree id of each; ConfigError when the commit lacks one."""
        asked = [(self._commit, self._project.path(name)) for name in names]
        found = dict(zip(names, self._project.repository.object_ids(asked), strict=True))
        missing = [name for name, oid in found.items() if oid is None]
        if missing:
            raise ConfigError(
                f"the commit {self._commit[:12]} has no {missing[0]}, which is named {role}",
                fix="Commit it, or correct pipeline.yaml.",
            )
        return {name: oid for name, oid in found.items() if oid is not None}


def _toml(text: bytes, source: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(text.decode())
    except ValueError as error:
        raise ConfigError(f"{source} is broken TOML: {error}") from error
