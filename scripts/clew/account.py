"""What clew asks an AWS account about itself, before it pays for anything there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from clew.ports import RemoteConfig

URI = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/"
    r"(?P<repository>[^@:]+)(?:@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>[\w.-]+))?"
)


class Right(NamedTuple):
    """An action on a resource, in the words of IAM policies."""

    action: str
    resource: str  # an ARN, which may end in *


class Identity(NamedTuple):
    arn: str
    account: str


class Image(NamedTuple):
    """An image in ECR, by digest or by tag."""

    account: str
    region: str
    repository: str
    digest: str | None
    tag: str

    @classmethod
    def of(cls, uri: str) -> Image | None:
        """Return the image that a URI names; None where it is not in ECR."""
        found = URI.fullmatch(uri)
        return cls(**{**found.groupdict(), "tag": found["tag"] or "latest"}) if found else None


class Account(Protocol):
    """An AWS account as it describes itself; Unverifiable for what it does not tell the caller."""

    def identity(self) -> Identity:
        """Return who is asking; ConfigError or OutsideError when AWS does not take that."""

    def bucket_region(self, bucket: str) -> str | None:
        """Return where a bucket is, None where S3 does not say; ConfigError if there is none."""

    def is_versioned(self, bucket: str) -> bool: ...

    def is_encrypted(self, bucket: str) -> bool: ...

    def check_remote(self, remote: RemoteConfig) -> None:
        """Raise ConfigError unless jobs can reach a DVC remote."""

    def trust_policy(self, role: str) -> Mapping[str, Any]:
        """Return who may assume a role; ConfigError when there is no such role."""

    def denied(self, principal: str, rights: Sequence[Right]) -> list[Right]:
        """Return the rights that a principal's policies don't give it."""

    def job_image(self) -> str: ...

    def serving_image(self) -> str: ...

    def has_image(self, image: Image) -> bool: ...

    def app_status(self, arn: str) -> str | None:
        """Return the state of a MLflow App, None when there is none."""

    def quotas(self, names: Sequence[str]) -> Mapping[str, float]:
        """Return the quotas of SageMaker that the account has by these names."""

    def key_state(self, key: str) -> str | None: ...

    def networks(self, subnets: Sequence[str], groups: Sequence[str]) -> Mapping[str, str]:
        """Return the VPC of each subnet and security group that there is."""
