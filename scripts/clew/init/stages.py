"""Which stages of dvc.yaml make the data and which train: told by the graph, then by names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clew.errors import ConfigError
from clew.init.survey import Survey, SurveyedStage, inside

MODEL_LIKE = re.compile(
    r"(?i)(model|weights|checkpoint|estimator|classifier|regressor|network)"
    r"|\.(pkl|pickle|joblib|pt|pth|ckpt|onnx|h5|keras|safetensors|skops|pb|bin|cbm|ubj)$"
)
TRAINS = re.compile(r"(?i)train|fit|tune|learn")


@dataclass(frozen=True)
class Roles:
    """What pipeline.yaml says of the stages, all names and paths in the order of dvc.yaml."""

    data_stages: tuple[str, ...]
    data_outputs: tuple[str, ...]
    train_stages: tuple[str, ...]
    model: str
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """Which stages come before which."""

    survey: Survey

    def before(self, stage: SurveyedStage) -> list[SurveyedStage]:
        """Return a stage's ancestors."""
        found: dict[str, SurveyedStage] = {}
        todo = [stage]
        while todo:
            for maker in self._makers(todo.pop()):
                if maker.name not in found and maker.name != stage.name:
                    found[maker.name] = maker
                    todo.append(maker)
        return list(found.values())

    def _makers(self, stage: SurveyedStage) -> Iterator[SurveyedStage]:
        makers = self.survey.makers
        for dep in stage.deps:
            yield from (maker for path, maker in makers.items() if _touch(path, dep))


def _touch(one: str, other: str) -> bool:
    return inside(one, other) or inside(other, one)


def candidates(survey: Survey) -> list[str]:
    """Return the paths that can be the model, the likeliest first.

    ConfigError where no stage writes metrics, or none makes anything that could be a model.
    """
    graph = Graph(survey)
    measured = [stage for stage in survey.stages if any(out.metric for out in stage.outs)]
    if not measured:
        raise ConfigError(
            "no stage of dvc.yaml has `metrics`, so no gate could judge a model",
            fix="List the metrics file of your evaluation under `metrics:` of its stage.",
        )
    able = {s.name: s for one in measured for s in (one, *graph.before(one))}
    ranked = [
        (_rank(path, stage, measured), path)
        for stage in survey.stages
        if stage.name in able
        for path in _products(stage)
    ]
    if not ranked:
        raise ConfigError(
            "no stage before the metrics of dvc.yaml has an output that could be the model",
            fix="List the model under `outs:` of the stage that trains it.",
        )
    return [path for _rank_, path in sorted(ranked, key=lambda pair: pair[0])]


def _products(stage: SurveyedStage) -> list[str]:
    return [out.path for out in stage.outs if not out.metric and not out.plot]


def _rank(path: str, stage: SurveyedStage, measured: list[SurveyedStage]) -> tuple[bool, ...]:
    return (
        not MODEL_LIKE.search(path),
        not TRAINS.search(stage.name),
        stage not in measured,
        len(_products(stage)) > 1,
    )


def is_clear(paths: list[str]) -> bool:
    """Tell whether the first candidate alone has the looks of a model."""
    return len([path for path in paths if MODEL_LIKE.search(path)]) == 1 or len(paths) == 1


def roles(survey: Survey, model: str) -> Roles:
    """Return the roles of the stages, given the path of the model.

    ConfigError where no stage makes it, no metrics follow it, or training reads no data of DVC's.
    """
    owner = survey.makers.get(model)
    if owner is None:
        known = ", ".join(path for s in survey.stages for path in _products(s)) or "none"
        raise ConfigError(f"no stage of dvc.yaml makes {model}", fix=f"The outputs are: {known}.")
    train = _training(survey, owner)
    metrics = tuple(out.path for stage in train for out in stage.outs if out.metric)
    if not metrics:
        raise ConfigError(
            f"no metrics come of the stage '{owner.name}', which makes {model}, or of one after it",
            fix="Name another output as the model: clew init --model PATH.",
        )
    outputs = tuple(_outputs(survey, train))
    if not outputs:
        raise ConfigError(
            f"the stage '{train[0].name}' reads no data that DVC tracks",
            fix="Track it with `dvc add`, or make it in a stage of its own, and list it in `deps`.",
        )
    graph = Graph(survey)
    earlier = {s.name for stage in train for s in graph.before(stage)}
    names = tuple(stage.name for stage in train)
    data = tuple(s.name for s in survey.stages if s.name in earlier and s.name not in names)
    return Roles(data, outputs, names, model, metrics)


def _training(survey: Survey, owner: SurveyedStage) -> list[SurveyedStage]:
    """Return the stage of the model, those that lead from it to metrics, and its like."""
    graph = Graph(survey)
    before = {stage.name: {s.name for s in graph.before(stage)} for stage in survey.stages}
    measured = [s.name for s in survey.stages if any(out.metric for out in s.outs)]
    like = {owner.name} | {
        stage.name
        for stage in survey.stages
        if TRAINS.search(stage.name)
        and any(MODEL_LIKE.search(path) for path in _products(stage))
        and stage.name not in before[owner.name]
    }
    ends = [name for name in measured if name in like or like & before[name]]
    between = {
        name
        for name in before
        if like & before[name] and any(name in before[end] or name == end for end in ends)
    }
    return [s for s in survey.stages if s.name in like | between]


def _outputs(survey: Survey, train: Iterable[SurveyedStage]) -> Iterator[str]:
    """Yield what DVC tracks of what training reads, each once, none within another."""
    stages = list(train)
    made = {out.path for stage in stages for out in stage.outs}
    tracked = [
        *(out.path for stage in survey.stages for out in stage.outs if out.cached),
        *survey.added,
    ]
    deps = [dep for stage in stages for dep in stage.deps]
    for path in dict.fromkeys(tracked):
        if path not in made and any(_touch(path, dep) for dep in deps):
            yield path
