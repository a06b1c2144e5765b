"""InvokeEndpoint of the SageMaker runtime: the request goes on to the process that serves, see
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from __future__ import annotations

import urllib.error
import urllib.request

from werkzeug.wrappers import Request, Response

from tests.stand.endpoints import Endpoints
from tests.stand.errors import AwsError
from tests.stand.identity import ACCOUNT, REGION

LARGEST = 25 * 1024 * 1024  # bytes of a request
SERVING = frozenset({"InService", "Updating", "SystemUpdating", "RollingBack"})


class Invocation:
    """A callable for the gateway."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints

    def __call__(self, request: Request, body: bytes) -> Response:
        name = request.path.split("/")[2]
        record = self._endpoints.records.get(name)
        if record is None or record["EndpointStatus"] not in SERVING:
            raise AwsError("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        if len(body) > LARGEST:
            raise AwsError("ValidationError", "Request body is too large.", 413)
        variant = request.headers.get("X-Amzn-SageMaker-Target-Variant")
        server = self._endpoints.server(name, variant)
        if server is None:
            raise AwsError("ValidationError", f"Variant {variant} not found in endpoint {name}.")
        headers = {"Content-Type": request.content_type or "application/octet-stream"}
        if "Accept" in request.headers:
            headers["Accept"] = request.headers["Accept"]
        asked = urllib.request.Request(f"{server.url}/invocations", body, headers, method="POST")
        try:
            with urllib.request.urlopen(asked, timeout=60) as reply:
                answer, kind = reply.read(), reply.headers.get_content_type()
        except urllib.error.HTTPError as error:
            raise _model_error(name, error) from error
        except OSError as error:
            raise AwsError("ServiceUnavailable", str(error), 503) from error
        return Response(
            answer,
            content_type=kind,
            headers={"x-Amzn-Invoked-Production-Variant": server.variant["VariantName"]},
        )


def _model_error(name: str, error: urllib.error.HTTPError) -> AwsError:
    text = error.read().decode(errors="replace")
    side = "client" if error.code < 500 else "server"
    return AwsError(
        "ModelError",
        f'Received {side} error ({error.code}) from primary with message "{text}". See '
        f"https://{REGION}.console.aws.amazon.com/cloudwatch/home?region={REGION}"
        f"#logEventViewer:group=/aws/sagemaker/Endpoints/{name} in account {ACCOUNT} for more "
        "information.",
        424,
    )
