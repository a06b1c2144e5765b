"""What `clew init` would write: detected, asked where unclear, validated, never half of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clew.config.load import load
from clew.config.model import Pipeline
from clew.errors import ConfigError
from clew.init import detect
from clew.init.differences import Difference, State, compare, read
from clew.init.pipeline_yaml import Answers, render
from clew.init.source import Source, parse
from clew.init.stages import Roles, candidates, is_clear, roles
from clew.init.survey import DvcRemote, Survey
from clew.init.workflows import FORGES, Adoption, places, source_in
from clew.init.workflows import render as render_workflows

SQLITE = "sqlite:///.clew/mlflow.db"
RAW = "https://raw.githubusercontent.com/{at}/{sha}/scripts/clew/config/pipeline.schema.json"
HOSTS = {"github": "github.com", "gitlab": "gitlab", "codecommit": "codecommit"}


class Questions(ABC):
    """Whoever answers what can't be told from the repository."""

    @abstractmethod
    def text(self, question: str, default: str | None) -> str:
        """Return a text; ConfigError when there is no default and nobody to ask."""

    @abstractmethod
    def choice(self, question: str, options: list[str], default: str) -> str:
        """Return one of the options."""


@dataclass(frozen=True)
class Chosen:
    """What the command line settles; None is detected or asked."""

    name: str | None = None
    forge: str | None = None
    source: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class Place:
    """The repository that adopts clew."""

    top: Path
    folder: str  # of pipeline.yaml, relative to the top; "" is the top
    file: str  # name of pipeline.yaml
    survey: Survey
    branch: str  # the default one
    remote_url: str | None
    installed: Source | str  # where clew comes from, or why that can't be told
    tracking_uri: str | None
    fix_verify: Callable[[str, str], str]  # .dvc/config's text and a remote's name

    @property
    def path(self) -> Path:
        return self.top / self.folder

    @property
    def pipeline(self) -> str:
        return f"{self.folder}/{self.file}" if self.folder else self.file


@dataclass
class Plan:
    """The files as they would be, and what else is to be said."""

    pipeline: Pipeline
    text: bytes  # of pipeline.yaml
    files: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan(place: Place, chosen: Chosen, ask: Questions) -> Plan:
    """Return what to write; ConfigError for what clew can't work with, before anything changes."""
    if not place.survey.stages:
        raise ConfigError(
            "dvc.yaml has no stages, so there is nothing to train",
            fix="Add them with `dvc stage add`.",
        )
    there = read(place.top, place.pipeline)
    notes: list[str] = []
    forge = chosen.forge or _forge(place, ask)
    source = _source(place, chosen, forge, ask, notes)
    if there is None:
        text = render(_answers(place, chosen, ask, source, notes))
        own = Difference(place.pipeline, State.MISSING, None, text)
    else:
        text = there
        own = Difference(place.pipeline, State.KEPT, there, there)
    pipeline = load(text.encode(), place.pipeline)
    remote = _dvc_remote(place, ask, pipeline.data.remote)
    files = [own, *_verify(place, remote)]
    if source is not None:
        files += compare(place.top, render_workflows(_adoption(place, pipeline, forge, source)))
        notes += _needs(place)
    return Plan(pipeline, text.encode(), files, notes)


def _answers(
    place: Place, chosen: Chosen, ask: Questions, source: Source | None, notes: list[str]
) -> Answers:
    name = chosen.name or ask.text("Name of the pipeline", _guessed_name(place))
    found = roles(place.survey, chosen.model or _model(place.survey, ask))
    metrics = detect.metrics(place.path, found.metrics)
    lock = detect.lock_file(place.path)
    uri = place.tracking_uri or SQLITE
    notes += metrics.notes
    if uri == SQLITE:
        notes.append("MLflow's store is of this clone: a team names its server in pipeline.yaml")
    if lock is None:
        notes.append("no lock file found: name it in code.lock, or `clew check` fails")
    at = source.on_github if source else None
    return Answers(
        name=name,
        roles=found,
        remote=_dvc_remote(place, ask, None).name,
        metrics=metrics,
        code=_code(place, found),
        lock=lock,
        tracking_uri=uri,
        branch=place.branch,
        schema_url=RAW.format(at=at, sha=source.sha) if source and at else None,
    )


def _code(place: Place, found: Roles) -> tuple[str, ...]:
    paths = detect.code_paths(place.path, place.survey, found)
    if not paths:
        raise ConfigError(
            "no training code found in the commands and `deps` of dvc.yaml",
            fix="List the scripts under `deps` of the stages that run them.",
        )
    return paths


def _guessed_name(place: Place) -> str:
    return detect.slug(Path(place.folder).name or _repository_name(place))


def _repository_name(place: Place) -> str:
    last = (place.remote_url or "").rstrip("/").replace(":", "/").rpartition("/")[2]
    return last.removesuffix(".git") or place.top.resolve().name


def _model(survey: Survey, ask: Questions) -> str:
    found = candidates(survey)
    if is_clear(found):
        return found[0]
    return ask.choice("Which output of dvc.yaml is the model", found, found[0])


def _forge(place: Place, ask: Questions) -> str:
    """Return the forge: by the Git remote's host, by the files of ours, or as somebody says."""
    url = (place.remote_url or "").lower()
    host = url.partition("://")[2] or url
    host = host.partition("/")[0] if not url.startswith("codecommit") else url
    host = host.rpartition("@")[2]
    for forge, part in HOSTS.items():
        if part in host:
            return forge
    there = [forge for forge in HOSTS if _written_source(place, forge)]
    if len(there) == 1:
        return there[0]
    return ask.choice("Where are pushes run", list(FORGES), "all" if there else "github")


def _source(
    place: Place, chosen: Chosen, forge: str, ask: Questions, notes: list[str]
) -> Source | None:
    if forge == "none":
        return None
    if chosen.source is not None:
        return parse(chosen.source)
    if isinstance(place.installed, Source):
        return place.installed
    written = _written_source(place, forge)
    if written is not None:
        notes.append(f"{place.installed}: the workflows keep to {written}")
        return written
    question = f"Where CI installs clew from, OWNER/REPO@SHA ({place.installed})"
    return parse(ask.text(question, None))


def _written_source(place: Place, forge: str) -> Source | None:
    """Return where files of ours that are there get clew from."""
    there = read(place.top, place.pipeline)
    name = load(there.encode(), place.pipeline).name if there else _guessed_name(place)
    nothing = Adoption(forge, Source("", ""), place.pipeline, name)
    texts = (read(place.top, path) for path in places(nothing).values())
    return next((found for text in texts if text and (found := source_in(text))), None)


def _dvc_remote(place: Place, ask: Questions, name: str | None) -> DvcRemote:
    remotes: Mapping[str, DvcRemote] = place.survey.remotes
    if not remotes:
        raise ConfigError(
            "DVC has no remote, so a job could not get the data",
            fix="Add one and commit it: `dvc remote add --default storage URL`.",
        )
    wanted = name or place.survey.default_remote
    if wanted is None:
        names = sorted(remotes)
        several = len(names) > 1
        wanted = (
            ask.choice("Which DVC remote keeps the data", names, names[0]) if several else names[0]
        )
    if wanted not in remotes:
        known = ", ".join(sorted(remotes))
        raise ConfigError(f"DVC has no remote '{wanted}'", fix=f"It has: {known}.")
    remote = remotes[wanted]
    if not remote.committed:
        raise ConfigError(
            f"the DVC remote '{remote.name}' is not in .dvc/config, so no one else has it",
            fix=f"Add it there: `dvc remote add {remote.name} URL`, and commit .dvc/config.",
        )
    return remote


def _verify(place: Place, remote: DvcRemote) -> list[Difference]:
    path = place.survey.config
    before = read(place.top, path) or ""
    if remote.verified:
        return [Difference(path, State.SAME, before, before)]
    after = place.fix_verify(before, remote.name)
    return [Difference(path, State.SETTING, before, after)]


def _adoption(place: Place, pipeline: Pipeline, forge: str, source: Source) -> Adoption:
    needed = _requirements(place)
    return Adoption(forge, source, place.pipeline, pipeline.name, needed)


def _requirements(place: Place) -> str | None:
    """Return the file that names what the stages import, relative to the top."""
    inside = f"{place.folder}/requirements.txt" if place.folder else "requirements.txt"
    found = (path for path in (inside, "requirements.txt") if (place.top / path).is_file())
    return next(found, None)


def _needs(place: Place) -> list[str]:
    if _requirements(place) is not None:
        return []
    return [
        "there is no requirements.txt: where jobs run on the CI system's machine, they find "
        "clew's packages and no others"
    ]
