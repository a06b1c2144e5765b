"""Live: which models answer right now, by alias or on an endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from clew.audit.models import VERSION, Known
from clew.context import Context
from clew.deploy import ENDPOINT_TAG, PIPELINE
from clew.errors import ClewError
from clew.packages import ARN

ON_ALIAS, ON_ENDPOINT = "alias ", "endpoint "
Key = tuple[str, str]  # URI and run


@dataclass(frozen=True)
class Live:
    """Where models are live."""

    # Aliases and endpoints.
    models: Mapping[Key, tuple[str, ...]] = field(default_factory=dict)
    problem: str = ""  # which endpoints could not be asked

    def of(self, model: Known) -> tuple[str, ...]:
        return self.models.get((model.uri, model.run_id), ())

    def in_production(self, model: Known, baseline: str) -> bool:
        """Tell whether a model has the baseline alias or is on an endpoint.

        Under a name that clew never used, nobody knows which alias means what: any counts.
        """
        return any(
            model.is_foreign or where == f"{ON_ALIAS}{baseline}" or where.startswith(ON_ENDPOINT)
            for where in self.of(model)
        )


def live_models(context: Context, models: Sequence[Known]) -> Live:
    """Return where models are live; each endpoint that clew made is asked what it serves.

    Raises OutsideError when MLflow can't be read.
    """
    found = {(m.uri, m.run_id): [f"{ON_ALIAS}{alias}" for alias in m.aliases] for m in models}
    present = {one.uri: (one.uri, one.run_id) for one in models if one.deleted != VERSION}
    problems = []
    for alias, number in context.tracker.aliases().items():
        key = present.get(f"models:/{context.pipeline.mlflow.model}/{number}")
        if key is None:
            problems.append(f"the alias {alias} is on version {number}, which MLflow does not list")
        elif f"{ON_ALIAS}{alias}" not in found[key]:
            found[key].append(f"{ON_ALIAS}{alias}")
    names = _tagged(models)
    try:
        names |= _made_here(context, names)  # a tag may be gone, with its version or without
    except ClewError as error:
        problems.append(f"which endpoints there are can't be told: {error.what}")
    for name in sorted(names):
        try:
            key = _served(context, models, name)
        except ClewError as error:
            problems.append(f"endpoint {name}: {error.what}")
            continue
        if key is not None:
            found[key].append(f"{ON_ENDPOINT}{name}")
    return Live({key: tuple(where) for key, where in found.items() if where}, "; ".join(problems))


def _tagged(models: Sequence[Known]) -> set[str]:
    """Return the endpoints that models say they were put on."""
    return {
        tag.removeprefix(ENDPOINT_TAG)
        for one in models
        for tag in one.tags
        if tag.startswith(ENDPOINT_TAG)
    }


def _made_here(context: Context, known: Set[str]) -> set[str]:
    """Return all endpoints that this pipeline made, as far as they are not known."""
    if context.endpoints is None:
        return set()
    there = map(context.endpoints.find, set(context.endpoints.names()) - known)
    return {one.name for one in there if one and one.tags.get(PIPELINE) == context.pipeline.name}


def _served(context: Context, models: Sequence[Known], name: str) -> Key | None:
    """Return the model that an endpoint serves, None when there is no such endpoint."""
    if context.endpoints is None:
        raise ClewError("pipeline.yaml has no executor.sagemaker to ask it by")
    there = context.endpoints.find(name)
    if there is None:
        return None
    served = context.endpoints.served(there.config)
    if served is None:
        raise ClewError(f"its configuration {there.config} can't be read")
    found = _of_package(context, models, served.package)
    return found.uri, found.run_id


def _of_package(context: Context, models: Sequence[Known], package: str) -> Known:
    """Return the model that a package is of, by what it says of itself and by the model's tag."""
    there = context.packages.describe(package) if context.packages else None
    fingerprint = there.properties.get("run_fingerprint") if there else None
    if not fingerprint:
        raise ClewError(f"it serves {package}, which does not say what it was made of")
    same = [one for one in models if one.fingerprint == fingerprint]
    found = next((one for one in same if one.tags.get(ARN) == package), None)
    # Where the version is gone, so is its tag.
    found = found or next((one for one in same if one.deleted == VERSION), None)
    if found is None:
        raise ClewError(f"it serves {package}, which no model version is, or which another claims")
    return found
