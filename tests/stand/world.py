"""What the parts of the stand's AWS share: settings, callers, faults, logs, tags and one lock."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.stand.calls import CallLog
from tests.stand.faults import Faults
from tests.stand.identity import ACCOUNT, CONTROL, REGION, Principal, role
from tests.stand.logs import Logs


@dataclass(frozen=True)
class Settings:
    """How the stand was started; plain values, handed from process to process as JSON."""

    folder: str
    port: int
    s3_endpoint: str  # SeaweedFS itself
    s3_port: int  # the proxy in front of it, which clients use
    bucket: str
    roles: tuple[str, ...]
    grace_seconds: float = 120.0  # between SIGTERM and SIGKILL
    starting_seconds: float = 0.2  # in Starting
    mlflow_uri: str = ""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def s3_url(self) -> str:
        """Where clients find S3."""
        return f"http://127.0.0.1:{self.s3_port}"


@dataclass
class World:
    """One account in one region."""

    settings: Settings
    calls: CallLog = field(default_factory=CallLog)
    faults: Faults = field(default_factory=Faults)
    logs: Logs = field(default_factory=Logs)
    lock: threading.RLock = field(default_factory=threading.RLock)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    principals: dict[str, Principal] = field(default_factory=dict)  # by access key
    at_exit: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for principal in (CONTROL, *map(role, self.settings.roles)):
            self.admit(principal)

    @property
    def folder(self) -> Path:
        return Path(self.settings.folder)

    def admit(self, principal: Principal) -> Principal:
        self.principals[principal.access_key] = principal
        return principal

    def arn(self, kind: str, name: str) -> str:
        """SageMaker writes names in ARNs in lower case."""
        return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name.lower()}"

    def tag(self, arn: str, tags: list[dict[str, str]]) -> None:
        """Also without tags: what has an entry is a thing that can be tagged."""
        self.tags.setdefault(arn, {}).update({tag["Key"]: tag["Value"] for tag in tags})

    def pause(self) -> None:
        """What AWS takes long for takes a moment here, long enough to be seen."""
        time.sleep(self.settings.starting_seconds)

    def s3(self, role_arn: str) -> Any:
        """S3 with the rights of a job's role, which SageMaker uses to move its data."""
        name = role_arn.rpartition("/")[2]
        principal = role(name) if ":role/" in role_arn else CONTROL
        return _s3_client(self.settings.s3_url, principal)


@functools.cache
def _s3_client(endpoint: str, principal: Principal) -> Any:
    return boto3.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=principal.access_key,
        aws_secret_access_key=principal.secret_key,
        config=Config(retries={"mode": "standard", "max_attempts": 6}, max_pool_connections=32),
    )
