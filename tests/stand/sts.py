"""STS: who am I, and keys for a role. The keys are fixed per role, so S3 knows them too."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from html import escape

from moto.iam.models import iam_backends
from werkzeug.wrappers import Response

from tests.stand.errors import AwsError
from tests.stand.identity import ACCOUNT, Principal, role
from tests.stand.world import World

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
HOUR = 3600


class SecurityTokens:
    """The three operations that clients of a pipeline use; others are moto's."""

    operations = frozenset({"GetCallerIdentity", "AssumeRole", "AssumeRoleWithWebIdentity"})

    def __init__(self, world: World) -> None:
        self._world = world
        for name in world.settings.roles:
            create_role(name)

    def __call__(self, operation: str, form: dict[str, str], caller: Principal | None) -> Response:
        if operation == "GetCallerIdentity":
            return _xml(operation, _identity(caller))
        return _xml(operation, self._assume(form))

    def _assume(self, form: dict[str, str]) -> str:
        name = form["RoleArn"].rpartition("/")[2]
        if name not in {role.name for role in iam_backends[ACCOUNT]["aws"].roles.values()}:
            action = "sts:AssumeRole" + ("WithWebIdentity" if "WebIdentityToken" in form else "")
            raise AwsError("AccessDenied", f"Not authorized to perform {action}", 403)
        principal = self._world.admit(role(name))
        session = form["RoleSessionName"]
        ends = _iso(int(form.get("DurationSeconds", HOUR)))
        return (
            f"<Credentials><AccessKeyId>{principal.access_key}</AccessKeyId>"
            f"<SecretAccessKey>{principal.secret_key}</SecretAccessKey>"
            f"<SessionToken>{token_of(principal)}</SessionToken><Expiration>{ends}</Expiration>"
            f"</Credentials><AssumedRoleUser><Arn>arn:aws:sts::{ACCOUNT}:assumed-role/{name}/"
            f"{escape(session)}</Arn><AssumedRoleId>AROA:{escape(session)}</AssumedRoleId>"
            "</AssumedRoleUser>"
        )


def token_of(principal: Principal) -> str:
    return f"stand-session-{principal.name}"


def create_role(name: str, service: str = "sagemaker.amazonaws.com") -> None:
    """A role that SageMaker may assume."""
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam_backends[ACCOUNT]["aws"].create_role(name, document, "/", None, "", [], "3600")


def container_credentials(principal: Principal) -> dict[str, str]:
    """What the endpoint in AWS_CONTAINER_CREDENTIALS_FULL_URI answers, see
    https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
    """
    return {
        "RoleArn": principal.arn,
        "AccessKeyId": principal.access_key,
        "SecretAccessKey": principal.secret_key,
        "Token": token_of(principal),
        "Expiration": _iso(HOUR),
    }


def _identity(caller: Principal | None) -> str:
    if caller is None:
        raise AwsError("MissingAuthenticationToken", "Missing Authentication Token", 403)
    return (
        f"<Arn>{caller.session_arn}</Arn><UserId>{caller.access_key}</UserId>"
        f"<Account>{ACCOUNT}</Account>"
    )


def _iso(seconds: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _xml(operation: str, result: str) -> Response:
    text = (
        f'<{operation}Response xmlns="{NAMESPACE}"><{operation}Result>{result}'
        f"</{operation}Result><ResponseMetadata><RequestId>stand</RequestId></ResponseMetadata>"
        f"</{operation}Response>"
    )
    return Response(text, content_type="text/xml")
