"""Errors as AWS words them, and how each protocol writes them."""

from __future__ import annotations

import json
from html import escape

from werkzeug.wrappers import Response


class AwsError(Exception):
    """An answer other than success."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def validation(message: str) -> AwsError:
    return AwsError("ValidationException", message)


def in_use(message: str) -> AwsError:
    return AwsError("ResourceInUse", message)


def not_found(message: str) -> AwsError:
    return AwsError("ResourceNotFound", message)


def throttled(service: str) -> AwsError:
    """See https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html"""
    if service == "s3":
        return AwsError("SlowDown", "Please reduce your request rate.", 503)
    code = "Throttling" if service in QUERY_SERVICES else "ThrottlingException"
    return AwsError(code, "Rate exceeded")


def denied(caller: str, action: str, resource: str) -> AwsError:
    """See https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html"""
    service = action.partition(":")[0]
    code = "AccessDenied" if service in (*QUERY_SERVICES, "s3") else "AccessDeniedException"
    status = 403 if code == "AccessDenied" else 400
    return AwsError(
        code,
        f"User: {caller} is not authorized to perform: {action} on resource: {resource} "
        f"because no identity-based policy allows the {action} action",
        status,
    )


QUERY_SERVICES = frozenset({"sts", "iam", "ec2", "cloudformation", "monitoring"})
REST_SERVICES = frozenset({"sagemaker-runtime"})


def respond(error: AwsError, service: str, request_id: str) -> Response:
    """The HTTP answer in the protocol that the service's clients expect."""
    headers = {"x-amzn-RequestId": request_id}
    if service in QUERY_SERVICES or service == "s3":
        body = _xml(error, service, request_id)
        return Response(body, error.status, headers, content_type="text/xml")
    if service in REST_SERVICES:
        headers["x-amzn-ErrorType"] = error.code
        text = json.dumps({"message": error.message, "Message": error.message})
        return Response(text, error.status, headers, content_type="application/json")
    text = json.dumps({"__type": error.code, "message": error.message})
    return Response(text, error.status, headers, content_type="application/x-amz-json-1.1")


def _xml(error: AwsError, service: str, request_id: str) -> str:
    inner = f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
    if service == "s3":
        return f"<Error>{inner}<RequestId>{request_id}</RequestId></Error>"
    return (
        f"<ErrorResponse><Error><Type>Sender</Type>{inner}</Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    )
