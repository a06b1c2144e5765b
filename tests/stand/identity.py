"""Who may call: access keys, the IAM principals behind them, and the keys handed out by STS."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

ACCOUNT = "123456789012"  # moto's own account
REGION = "eu-west-1"
ROLES = ("clew-training", "clew-processing", "clew-ci")


@dataclass(frozen=True)
class Principal:
    """A user or role, with the one pair of keys that stands for it."""

    name: str
    arn: str
    access_key: str
    secret_key: str

    @property
    def is_role(self) -> bool:
        return ":role/" in self.arn

    @property
    def session_arn(self) -> str:
        """The caller's ARN as AWS's messages print it."""
        if not self.is_role:
            return self.arn
        return f"arn:aws:sts::{ACCOUNT}:assumed-role/{self.name}/stand"


def user(name: str) -> Principal:
    return _principal(f"arn:aws:iam::{ACCOUNT}:user/{name}", "AKIA")


def role(name: str) -> Principal:
    return _principal(f"arn:aws:iam::{ACCOUNT}:role/{name}", "ASIA")


def role_arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def _principal(arn: str, prefix: str) -> Principal:
    """Keys follow from the name, so every process of the stand knows them without asking."""
    digest = hashlib.sha256(arn.encode()).hexdigest()
    return Principal(
        name=arn.rpartition("/")[2],
        arn=arn,
        access_key=prefix + digest[:16].upper(),
        secret_key=digest[16:56],
    )


CONTROL = user("clew-control")
