"""SageMaker endpoints: what is live on one, and what clew must be able to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from clew.identity import digest

# An endpoint's tags say what is live there, and how it came to be.
PIPELINE = "clew:pipeline"
DEPLOYED = "clew:deployed"  # the config that passed its smoke test last
PREVIOUS = "clew:previous"  # the one before it, to roll back to
ROLLED_BACK = "clew:rolled_back"  # the one that was rolled back from
OF_ENDPOINT = "clew:endpoint"  # on configs and models: the endpoint that they were made for

IN_SERVICE, FAILED = "InService", "Failed"
CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")  # SageMaker's, of at most 63 characters
NAME_CHARACTERS = 63


@dataclass(frozen=True)
class Endpoint:
    """An endpoint as SageMaker describes it."""

    name: str
    arn: str
    status: str  # SageMaker's EndpointStatus
    config: str  # the endpoint config that is live, or is to be when it is Creating
    reason: str = ""  # SageMaker's FailureReason
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ServedModel:
    """A SageMaker model behind an endpoint config."""

    name: str
    packages: tuple[str | None, ...] | None  # ARN for each container; None when the model is gone


@dataclass(frozen=True)
class EndpointConfig:
    name: str
    models: tuple[ServedModel, ...]  # one for each production variant

    def serves(self, package: str) -> bool:
        return [model.packages for model in self.models] == [(package,)]


class Container(NamedTuple):
    """How a model package is served."""

    image: str
    model_data: str  # S3 URI of the model.tar.gz


class Part(NamedTuple):
    """What clew made for an endpoint."""

    kind: str  # endpoint config | model
    name: str


class Endpoints(Protocol):
    """SageMaker endpoints of one region."""

    def find(self, name: str) -> Endpoint | None: ...

    def settled(self, name: str, on_line: Callable[[str], None]) -> Endpoint | None:
        """Wait until SageMaker no longer changes an endpoint; None when there is none then."""

    def config(self, name: str) -> EndpointConfig | None: ...

    def container(self, package: str) -> Container | None:
        """Return how a package is served, None when it or its inference specification is gone."""

    def has(self, model_data: str) -> bool:
        """Tell whether a model.tar.gz is in S3."""

    def input_example(self, model_data: str) -> bytes | None:
        """Return the MLflow model's serving input example; ConfigError without the file."""

    def make(self, name: str, package: str, tags: Mapping[str, str]) -> None:
        """Make SageMaker model and endpoint config of one name, where they are missing."""

    def create(self, name: str, config: str, tags: Mapping[str, str]) -> None: ...

    def update(self, name: str, config: str) -> None:
        """Begin a blue/green update; OutsideError while another is under way."""

    def tag(self, endpoint: Endpoint, tags: Mapping[str, str]) -> None:
        """Write all the tags, or none."""

    def delete(self, name: str) -> None: ...

    def invoke(self, name: str, body: bytes) -> bytes:
        """Return the answer to a JSON request."""

    def parts(self, pipeline: str, name: str) -> list[Part]:
        """Return the configs, then the models, that clew made for an endpoint."""

    def used_beside(self, name: str) -> set[Part]:
        """Return what all other endpoints need."""

    def discard(self, part: Part) -> None:
        """Delete a config or a model, if it is there."""


def release_name(pipeline: str, endpoint: str, fingerprint: str, settings: object) -> str:
    """Return the name of the SageMaker model and the config that serve a model on an endpoint."""
    served = digest([endpoint, settings])[:8]
    return f"{pipeline}-{fingerprint[:12]}-{digest(endpoint)[:6]}{served}"


def is_release_of(name: str, pipeline: str, endpoint: str) -> bool:
    """Tell whether a name may be one of `release_name`: its tags are the proof."""
    mine = f"{re.escape(pipeline)}-[0-9a-f]{{12}}-{digest(endpoint)[:6]}[0-9a-f]{{8}}"
    return re.fullmatch(mine, name) is not None
