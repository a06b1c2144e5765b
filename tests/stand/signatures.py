"""Who signed a request, and whether the signature is right, see
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from email.message import Message
from typing import TypeAlias

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from werkzeug.datastructures import Headers as WerkzeugHeaders

from tests.stand.identity import Principal

Headers: TypeAlias = "Message[str, str] | WerkzeugHeaders"  # both ignore the case of names
ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Signature:
    """What the Authorization header says."""

    access_key: str
    region: str
    service: str
    headers: tuple[str, ...]
    value: str


def parse(authorization: str) -> Signature | None:
    if not authorization.startswith(ALGORITHM):
        return None
    fields = dict(
        field.strip().split("=", 1) for field in authorization[len(ALGORITHM) :].split(",")
    )
    access_key, _, region, service, _ = fields["Credential"].split("/")
    signed = tuple(fields["SignedHeaders"].split(";"))
    return Signature(access_key, region, service, signed, fields["Signature"])


def is_right(
    signature: Signature,
    principal: Principal,
    method: str,
    url: str,
    headers: Headers,
    body: bytes,
) -> bool:
    """Sign again with the principal's own key and compare."""
    mine = _sign(signature, signature.headers, principal, method, url, headers, body)
    return hmac.compare_digest(mine, signature.value)


def again(
    signature: Signature,
    principal: Principal,
    method: str,
    url: str,
    headers: Headers,
    without: str,
) -> str:
    """The Authorization header of the same request without one of its headers."""
    signed = tuple(name for name in signature.headers if name != without)
    value = _sign(signature, signed, principal, method, url, headers, b"")
    day = headers["X-Amz-Date"][:8]
    scope = f"{day}/{signature.region}/{signature.service}/aws4_request"
    return (
        f"{ALGORITHM} Credential={principal.access_key}/{scope}, "
        f"SignedHeaders={';'.join(signed)}, Signature={value}"
    )


def _sign(
    signature: Signature,
    signed: tuple[str, ...],
    principal: Principal,
    method: str,
    url: str,
    headers: Headers,
    body: bytes,
) -> str:
    signer = S3SigV4Auth if signature.service == "s3" else SigV4Auth
    keys = Credentials(principal.access_key, principal.secret_key)
    auth = signer(keys, signature.service, signature.region)
    kept = {name: headers.get(name, "") for name in signed}
    request = AWSRequest(method=method, url=url, data=body, headers=kept)
    request.context["timestamp"] = headers.get("X-Amz-Date", "")
    value: str = auth.signature(
        auth.string_to_sign(request, auth.canonical_request(request)), request
    )
    return value
