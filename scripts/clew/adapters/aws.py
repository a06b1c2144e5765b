"""AWS clients, and what AWS says no with, in clew's own errors."""

from __future__ import annotations

import functools
import re
from typing import Any

from clew.adapters.translation import translating
from clew.errors import ClewError, ConfigError, OutsideError

ATTEMPTS = 10  # of one call, with back-off and jitter, before it counts as failed
SECONDS = 60  # for one answer
THROTTLED = ("Throttling", "ThrottlingException", "TooManyRequestsException", "SlowDown")
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403", "Forbidden")
UNKNOWN_KEY = (
    *("InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch"),
    "UnrecognizedClientException",
)
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")


class Aws:
    """The services of one region; a client is made when it is first asked for."""

    def __init__(self, region: str) -> None:
        self._region = region

    @functools.cached_property
    def _session(self) -> Any:
        import boto3

        return boto3.Session(region_name=self._region)

    @functools.cache  # noqa: B019  # lives as long as the command
    def client(self, service: str) -> Any:
        from botocore.config import Config

        retries = {"mode": "adaptive", "max_attempts": ATTEMPTS}
        config = Config(retries=retries, connect_timeout=10, read_timeout=SECONDS)
        return self._session.client(service, config=config)


def code_of(error: Exception) -> str:
    """Return AWS's own name of an error, empty when AWS did not answer."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def message_of(error: Exception) -> str:
    response = getattr(error, "response", None)
    said = response.get("Error", {}).get("Message") if isinstance(response, dict) else None
    return str(said or error)


def _explained(error: Exception, _owner: object) -> ClewError | None:
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        ParamValidationError,
    )

    if isinstance(error, NoCredentialsError):
        fix = "Run `aws configure` or `aws sso login`, or give the CI job an OIDC role."
        return ConfigError("there are no AWS credentials", fix=fix)
    if isinstance(error, ParamValidationError):
        return ConfigError(f"AWS would refuse this: {' '.join(str(error).split())}")
    if isinstance(error, ClientError):
        return _refused(code_of(error), message_of(error))
    if isinstance(error, BotoCoreError):
        return OutsideError(f"AWS can't be reached: {error}", fix="Running it again is safe.")
    return None


def _refused(code: str, message: str) -> ClewError:
    if code in DENIED:
        return ConfigError(f"AWS refused: {_right(message)}", fix="Give the role this right.")
    if code in UNKNOWN_KEY or code in EXPIRED:
        return ConfigError(f"AWS does not take the credentials: {message}", fix="Renew them.")
    if code == "ResourceLimitExceeded":
        return ConfigError(f"an AWS quota stands in the way: {message}", fix="Ask AWS to raise it.")
    if code in ("ValidationException", "ValidationError"):
        return ConfigError(f"AWS refused: {message}", fix="Correct executor.sagemaker.")
    if code == "NoSuchBucket":
        fix = (
            "Correct the URL of the DVC remote or executor.sagemaker.s3_prefix; see `clew doctor`."
        )
        return ConfigError(f"S3 has no such bucket: {message}", fix=fix)
    if code in THROTTLED:
        return OutsideError("AWS asks for fewer calls", fix="Running it again in a while is safe.")
    return OutsideError(f"AWS failed with {code}: {message}", fix="Running it again is safe.")


def _right(message: str) -> str:
    """Return which action on which resource a role lacks, from AWS's own words."""
    found = re.search(
        r"(?P<who>arn:\S+) is not authorized to perform: (?P<action>\S+)"
        r"(?: on resource: (?P<on>\S+))?",
        message,
    )
    if not found:
        return message
    on = f" on {found['on']}" if found["on"] else ""
    return f"{found['who']} lacks the right {found['action']}{on}"


translated = translating(_explained)
