"""What clew needs of SageMaker's endpoints, and what it knows of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

IN_SERVICE, FAILED = "InService", "Failed"
BUSY = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})


@dataclass(frozen=True)
class Endpoint:
    """An endpoint as SageMaker describes it."""

    name: str
    arn: str
    status: str  # SageMaker's EndpointStatus
    config: str  # the endpoint configuration that answers now
    reason: str = ""  # FailureReason
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Served:
    """What an endpoint configuration serves."""

    config: str
    model: str  # SageMaker's model
    package: str  # ARN of the model package
    tags: Mapping[str, str] = field(default_factory=dict)


class Endpoints(Protocol):
    """SageMaker's endpoints, their configurations and models."""

    def find(self, name: str) -> Endpoint | None: ...

    def names(self) -> list[str]:
        """Return the names of all endpoints of the account, whoever made them."""

    def wait(self, name: str, on_status: Callable[[str], None]) -> Endpoint | None:
        """Follow an endpoint until nothing is under way; None when it is gone."""

    def served(self, config: str) -> Served | None:
        """Return what a configuration serves; None when there is no such configuration.

        Unverifiable when it serves more than one model.
        """

    def has_model_data(self, package: str) -> bool | None:
        """Tell whether the archive of a model package has the bytes it was registered with.

        None when it is not in S3, or the package does not say which bytes these were.
        """

    def settings(self) -> Mapping[str, object]:
        """Return what, besides the model, decides how it is served."""

    def make_config(self, name: str, package: str, endpoint: str, tags: Mapping[str, str]) -> None:
        """Make the configuration and its model, as far as they are not there yet."""

    def create(self, name: str, config: str, tags: Mapping[str, str]) -> None: ...

    def update(self, name: str, config: str) -> None:
        """Replace what answers by a configuration, blue/green."""

    def tag(self, endpoint: Endpoint, tags: Mapping[str, str]) -> None: ...

    def invoke(self, name: str, body: bytes) -> bytes:
        """Return the answer to a request in JSON; ModelRefused when the model fails at it."""

    def delete(self, name: str) -> None: ...

    def delete_config(self, config: str) -> None:
        """Delete a configuration and its model; nothing where there is none."""

    def configs(self, endpoint: str) -> list[str]:
        """Return the configurations that clew made for an endpoint."""


class ModelRefused(Exception):
    """The model answered the request with an error."""
