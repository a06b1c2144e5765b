"""The one HTTP endpoint of every AWS service but S3: checks the caller, adds faults, keeps the
record, answers SageMaker itself and hands the rest to moto.
"""

from __future__ import annotations

import io
import json
import re
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.wrappers import Request, Response

from tests.stand import signatures
from tests.stand.admin import Admin
from tests.stand.api import Handler
from tests.stand.calls import resource_of
from tests.stand.errors import QUERY_SERVICES, AwsError, respond
from tests.stand.identity import Principal
from tests.stand.quotas import list_quotas
from tests.stand.simulation import simulate
from tests.stand.sts import SecurityTokens, container_credentials
from tests.stand.validation import check_request, output_problems
from tests.stand.world import World

INVOKE = re.compile(r"/endpoints/([^/]+)/invocations")
UNSIGNED = frozenset({"AssumeRoleWithWebIdentity"})


@dataclass
class Call:
    """One request, understood."""

    request: Request
    body: bytes
    service: str = ""
    operation: str = ""
    parameters: Any = None
    principal: Principal | None = None


class Gateway:
    """A WSGI application."""

    def __init__(
        self, world: World, operations: dict[str, Handler], admin: Admin, invoke: Any
    ) -> None:
        self._world = world
        self._operations = operations
        self._admin = admin
        self._invoke = invoke
        self._tokens = SecurityTokens(world)
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        # Some of botocore's requests have neither a length nor a body.
        request = Request(environ)
        return self._respond(request)(environ, start_response)

    def _respond(self, request: Request) -> Response:
        if request.path.startswith("/stand/"):
            return self._admin(request)
        if request.path.startswith("/credentials/"):
            return self._credentials(request.path.split("/")[2])
        return self._answer(Call(request, request.get_data()))

    def _credentials(self, name: str) -> Response:
        for principal in self._world.principals.values():
            if principal.is_role and principal.name == name:
                text = json.dumps(container_credentials(principal))
                return Response(text, content_type="application/json")
        return Response("no such role", 404)

    def _answer(self, call: Call) -> Response:
        request_id = str(uuid.uuid4())
        problem: AwsError | None = None
        try:
            _understand(call)
            self._authenticate(call)
            self._world.faults.check(call.service, call.operation, call.principal)
            response = self._handle(call)
        except AwsError as error:
            problem = error
            response = respond(error, call.service, request_id)
        response.headers.setdefault("x-amzn-RequestId", request_id)
        self._world.calls.add(
            call.service,
            call.operation,
            call.principal,
            response.status_code,
            problem.code if problem else None,
            resource_of(call.parameters),
        )
        return response

    def _authenticate(self, call: Call) -> None:
        """Unknown keys and wrong signatures are refused in AWS's words."""
        if call.operation in UNSIGNED:
            return
        headers = call.request.headers
        signature = signatures.parse(headers.get("Authorization", ""))
        if signature is None:
            raise AwsError(
                "MissingAuthenticationTokenException", "Missing Authentication Token", 403
            )
        principal = self._world.principals.get(signature.access_key)
        query = call.service in QUERY_SERVICES
        if principal is None:
            code = "InvalidClientTokenId" if query else "UnrecognizedClientException"
            raise AwsError(code, "The security token included in the request is invalid.", 403)
        url = call.request.host_url.rstrip("/") + call.request.environ["REQUEST_URI"]
        method = call.request.method
        if not signatures.is_right(signature, principal, method, url, headers, call.body):
            code = "SignatureDoesNotMatch" if query else "InvalidSignatureException"
            raise AwsError(
                code,
                "The request signature we calculated does not match the signature you provided. "
                "Check your AWS Secret Access Key and signing method.",
                403,
            )
        call.principal = principal

    def _handle(self, call: Call) -> Response:
        if call.service == "sagemaker-runtime":
            return self._invoke(call.request, call.body)  # type: ignore[no-any-return]
        if call.service == "sts" and call.operation in SecurityTokens.operations:
            return self._tokens(call.operation, call.parameters, call.principal)
        if call.service == "sagemaker":
            return self._sagemaker(call)
        if call.operation == "SimulatePrincipalPolicy":
            return simulate(self._world, call.parameters)
        if call.operation == "ListServiceQuotas":
            return list_quotas(call.parameters)
        if call.service == "logs" and call.operation == "GetLogEvents":
            self._world.logs.check_stream(call.parameters)
        if call.service == "logs" and call.operation == "FilterLogEvents":
            call.body = json.dumps(self._world.logs.with_names(call.parameters)).encode()
        return self._ask_moto(call)

    def _sagemaker(self, call: Call) -> Response:
        check_request("sagemaker", call.operation, call.parameters)
        handler = self._operations.get(call.operation)
        if handler is None or _is_motos(self._world, call):
            return self._ask_moto(call)
        answer = handler(call.parameters)
        with self._world.lock:
            text = json.dumps(answer)
        if problems := output_problems("sagemaker", call.operation, json.loads(text)):
            raise AwsError("StandBug", f"{call.operation} would answer: {problems}")
        return Response(text, content_type="application/x-amz-json-1.1")

    def _ask_moto(self, call: Call) -> Response:
        environ = call.request.environ | {"wsgi.input": io.BytesIO(call.body)}
        environ["CONTENT_LENGTH"] = str(len(call.body))
        try:
            response = Response.from_app(self._moto, environ, buffered=True)
        except NotImplementedError:
            response = Response(status=501, content_type="text/html")
        if response.status_code in (404, 500, 501) and "html" in (response.content_type or ""):
            raise AwsError(
                "NotImplemented", f"the stand doesn't imitate {call.service}:{call.operation}"
            )
        return response


def _is_motos(world: World, call: Call) -> bool:
    """Tags of resources that moto made."""
    arn = call.parameters.get("ResourceArn")
    return call.operation in ("AddTags", "ListTags", "DeleteTags") and (
        arn not in world.tags and _motos_kind(arn)
    )


def _motos_kind(arn: str) -> bool:
    return arn.split(":")[-1].split("/")[0] in ("pipeline", "experiment", "domain")


def _understand(call: Call) -> None:
    """Service, operation and parameters, by each protocol's own way to say them."""
    request = call.request
    signature = signatures.parse(request.headers.get("Authorization", ""))
    call.service = signature.service if signature else "sts"
    target = request.headers.get("X-Amz-Target", "")
    if target:
        call.operation = target.rpartition(".")[2]
        call.parameters = _json(call.body)
    elif call.service == "sagemaker" and (found := INVOKE.fullmatch(request.path)):
        call.service, call.operation = "sagemaker-runtime", "InvokeEndpoint"
        call.parameters = {"EndpointName": found[1]}
    elif (request.content_type or "").startswith("application/x-www-form-urlencoded"):
        call.parameters = dict(parse_qsl(call.body.decode(), keep_blank_values=True))
        call.operation = call.parameters.get("Action", "")
    else:
        call.operation = f"{request.method} {request.path}"


def _json(body: bytes) -> Any:
    try:
        return json.loads(body or b"{}")
    except ValueError as error:
        raise AwsError("SerializationException", str(error)) from error
