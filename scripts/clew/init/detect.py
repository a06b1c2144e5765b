"""What pipeline.yaml can say of a repository without asking: code, lock file, metrics, name."""

from __future__ import annotations

import posixpath
import re
import shlex
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clew.config.model import MetricsFile
from clew.errors import JobFailed
from clew.init.stages import Roles
from clew.init.survey import Survey, SurveyedStage, inside
from clew.metrics import read_metrics

LOCKS = (
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "pixi.lock",
    "Pipfile.lock",
    "conda-lock.yml",
    "conda-linux-64.lock",
    "requirements.lock",
    "requirements.txt",
)
SCRIPT = re.compile(r"\.(py|R|r|sh|jl|ipynb|pl|lua)$")
HIGHER = re.compile(r"(?i)(^|[._ /-])(acc|accuracy|f1|auc|auroc|roc|r2|precision|recall|map|bleu)")
LOWER = re.compile(r"(?i)(^|[._ /-])(loss|error|err|mae|mape|rmse|mse|msle|perplexity|wer|brier)")
METRIC = re.compile(r"[A-Za-z0-9_./: -]{1,250}")  # as pipeline.schema.json has it
TOLERANCE = 0.02  # of a metric's present value: what a gate proposed here lets it lose
NAME_LENGTH = 32


@dataclass(frozen=True)
class Metrics:
    """The metrics files with the directions that their names suggest, and a gate to begin with."""

    files: tuple[MetricsFile, ...]
    gate: tuple[str, float] | None = None  # a metric, and how much worse it may become
    notes: tuple[str, ...] = ()


def slug(text: str) -> str:
    """Return a text as the name of a pipeline: [a-z0-9-], at most 32."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    short = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:NAME_LENGTH]
    return short.strip("-") or "pipeline"


def lock_file(folder: Path) -> str | None:
    """Return the file that stands for the environment, None when there is none."""
    named = (name for name in LOCKS if (folder / name).is_file())
    others = sorted(path.name for path in folder.glob("requirements*.txt") if path.is_file())
    return next(named, None) or (others[0] if others else None)


def code_paths(folder: Path, survey: Survey, roles: Roles) -> tuple[str, ...]:
    """Return what counts as training code: the folders of scripts, and all else it reads in Git."""
    train = [stage for stage in survey.stages if stage.name in roles.train_stages]
    data = [stage for stage in survey.stages if stage.name in roles.data_stages]
    made = {out.path for stage in survey.stages for out in stage.outs} | set(roles.data_outputs)
    found = [path for stage in train for path in stage.deps if not _within(path, made)]
    found += [path for stage in train for path in _scripts(folder, stage)]
    found += [p for s in data for p in _scripts(folder, s) if not _within(p, s.deps)]
    settings = [path for stage in (*train, *data) for path in stage.params]
    found += [path for path in (*survey.variables, *settings) if path != "params.yaml"]
    return _widest(_folder(path, made | set(survey.added)) for path in found)


def _scripts(folder: Path, stage: SurveyedStage) -> Iterator[str]:
    """Yield the files of the commands that exist, those that `python -m` names among them."""
    for command in stage.commands:
        words = _words(command)
        for before, word in zip(["", *words], words, strict=False):
            module = word.replace(".", "/")
            named = [f"{module}.py", f"{module}/__main__.py"] if before == "-m" else [word]
            for path in map(posixpath.normpath, named):
                if SCRIPT.search(path) and not path.startswith(("/", "../")):
                    yield from [path] if (folder / path).is_file() else []


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command.replace("\n", " "))
    except ValueError:
        return command.split()


def _folder(path: str, tracked: Iterable[str]) -> str:
    """Return the folder of a script, whose other files it may import; data stays out of it."""
    parent = posixpath.dirname(path)
    if not SCRIPT.search(path) or not parent or any(inside(one, parent) for one in tracked):
        return path
    return parent


def _within(path: str, folders: Iterable[str]) -> bool:
    return any(inside(path, folder) for folder in folders)


def _widest(paths: Iterable[str]) -> tuple[str, ...]:
    unique = list(dict.fromkeys(paths))
    return tuple(p for p in unique if not any(p != q and inside(p, q) for q in unique))


def metrics(folder: Path, paths: Sequence[str]) -> Metrics:
    """Return the metrics files; what can't be read yet is named without its metrics."""
    files: list[MetricsFile] = []
    notes: list[str] = []
    seen: dict[str, float] = {}
    for path in paths:
        try:
            values = read_metrics(folder, [MetricsFile(path)])
        except JobFailed:
            notes.append(f"{path} is not there yet: declare its metrics once it is")
            files.append(MetricsFile(path))
            continue
        if twice := sorted(values.keys() & seen.keys()):
            notes.append(f"{path} is left out: {twice[0]} is in another metrics file too")
            continue
        seen |= values
        files.append(_declared(path, values))
    declared = [(name, seen[name]) for file in files for name in file.names]
    return Metrics(tuple(files), _gate(declared), tuple(notes))


def _declared(path: str, values: Iterable[str]) -> MetricsFile:
    allowed = [name for name in values if METRIC.fullmatch(name)]
    lower = tuple(name for name in allowed if LOWER.search(name))
    higher = tuple(name for name in allowed if HIGHER.search(name) and name not in lower)
    return MetricsFile(path, higher, lower)


def _gate(declared: Sequence[tuple[str, float]]) -> tuple[str, float] | None:
    if not declared:
        return None
    name, value = declared[0]
    return name, float(f"{abs(value) * TOLERANCE:.1g}")
