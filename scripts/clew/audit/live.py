"""Live: which models answer right now, by alias or on an endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clew.audit.models import VERSION, Known
from clew.context import Context
from clew.deploy import ENDPOINT_TAG
from clew.errors import ClewError
from clew.packages import ARN
from clew.serving import Endpoints


@dataclass(frozen=True)
class Live:
    """Where models are live."""

    # By URI and run: aliases and endpoints.
    models: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    problem: str = ""  # which endpoints could not be asked


def live_models(context: Context, endpoints: Endpoints | None, models: Sequence[Known]) -> Live:
    """Return where models are live; an endpoint that clew put a model on is asked what it serves.

    Raises OutsideError when MLflow can't be read.
    """
    found = {(m.uri, m.run_id): [f"alias {alias}" for alias in m.aliases] for m in models}
    present = {one.uri: (one.uri, one.run_id) for one in models if one.deleted != VERSION}
    problems = []
    for alias, number in context.tracker.aliases().items():
        key = present.get(f"models:/{context.pipeline.mlflow.model}/{number}")
        if key is None:
            problems.append(f"the alias {alias} is on version {number}, which MLflow does not list")
        elif f"alias {alias}" not in found[key]:
            found[key].append(f"alias {alias}")
    if endpoints is not None and any(one.deleted == VERSION for one in models):
        problems.append("of models that MLflow has no more, nobody knows the endpoints")
    by_package = {one.tags[ARN]: (one.uri, one.run_id) for one in models if ARN in one.tags}
    for name in sorted(_endpoint_names(models)):
        try:
            package = _served(endpoints, name)
        except ClewError as error:
            problems.append(f"endpoint {name}: {error.what}")
            continue
        if package and package not in by_package:
            problems.append(f"endpoint {name} serves {package}, which no model version is")
        elif package:
            found[by_package[package]].append(f"endpoint {name}")
    return Live({key: tuple(where) for key, where in found.items() if where}, "; ".join(problems))


def _endpoint_names(models: Sequence[Known]) -> set[str]:
    return {
        tag.removeprefix(ENDPOINT_TAG)
        for one in models
        for tag in one.tags
        if tag.startswith(ENDPOINT_TAG)
    }


def _served(endpoints: Endpoints | None, name: str) -> str | None:
    """Return the model package that an endpoint serves, None when there is no such endpoint."""
    if endpoints is None:
        raise ClewError("pipeline.yaml has no executor.sagemaker to ask it by")
    there = endpoints.find(name)
    if there is None:
        return None
    served = endpoints.served(there.config)
    if served is None:
        raise ClewError(f"its configuration {there.config} can't be read")
    return served.package
