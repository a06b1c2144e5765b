"""In front of SeaweedFS: keeps the record of S3 calls, adds faults, and accepts session tokens.

SeaweedFS knows neither STS nor tokens, so a request with a token is checked here and signed
again with the plain keys of the same role. All other requests pass through as they are.
"""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.stand import errors, signatures
from tests.stand.errors import AwsError
from tests.stand.identity import Principal
from tests.stand.s3_operations import S3Operation, understand
from tests.stand.sts import token_of
from tests.stand.world import World

BLOCK = 256 * 1024
HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "expect", "te", "upgrade"})
TOKEN = "x-amz-security-token"


def start(world: World) -> ThreadingHTTPServer:
    """Serve in the background on the port of the settings."""

    class Bound(Handler):
        pass

    Bound.world = world
    server = ThreadingHTTPServer(("127.0.0.1", world.settings.s3_port), Bound)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=[0.1], daemon=True).start()
    return server


class Handler(BaseHTTPRequestHandler):
    """One connection of a client, with one to SeaweedFS that is kept as long."""

    world: World
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the client's ACK

    def setup(self) -> None:
        super().setup()
        where = urlsplit(self.world.settings.s3_endpoint)
        self._upstream = http.client.HTTPConnection(str(where.hostname), where.port, timeout=120)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def log_message(self, *_: Any) -> None:
        """The record of calls is enough."""

    def _handle(self) -> None:
        self._left = int(self.headers.get("Content-Length", 0))
        asked = understand(self.command, self.path, self.headers)
        principal = self._principal()
        error: AwsError | None = None
        try:
            if "Transfer-Encoding" in self.headers:
                self.close_connection = True
                raise AwsError(
                    "MissingContentLength", "You must provide the Content-Length HTTP header.", 411
                )
            self.world.faults.check("s3", asked.action.removeprefix("s3:"), principal)
            status = self._forward(self._headers(principal))
        except AwsError as problem:
            error, status = problem, problem.status
            self._refuse(problem)
        except (OSError, http.client.HTTPException):
            # Either side hung up: so does the other.
            self._upstream.close()
            self.close_connection = True
            status = 499
        self._record(asked, principal, status, error)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815

    def _record(
        self, asked: S3Operation, who: Principal | None, status: int, error: AwsError | None
    ) -> None:
        self.world.calls.add(
            "s3",
            asked.name,
            who,
            status,
            error.code if error else None,
            asked.resource,
            asked.action,
        )

    def _principal(self) -> Principal | None:
        """Who says to have signed; SeaweedFS or `_headers` checks it."""
        signature = signatures.parse(self.headers.get("Authorization", ""))
        if signature is not None:
            return self.world.principals.get(signature.access_key)
        credential = parse_qs(urlsplit(self.path).query).get("X-Amz-Credential", [""])[0]
        return self.world.principals.get(credential.split("/")[0])

    def _headers(self, principal: Principal | None) -> dict[str, str]:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
        token = self.headers.get(TOKEN)
        signature = signatures.parse(self.headers.get("Authorization", ""))
        if token is None or signature is None:
            return headers
        if principal is None:
            raise AwsError(
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
                403,
            )
        if token != token_of(principal):
            raise AwsError("InvalidToken", "The provided token is malformed or otherwise invalid.")
        url = f"http://{self.headers['Host']}{self.path}"
        if not signatures.is_right(signature, principal, self.command, url, self.headers, b""):
            raise AwsError(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. "
                "Check your key and signing method.",
                403,
            )
        kept = {k: v for k, v in headers.items() if k.lower() != TOKEN}
        kept["Authorization"] = signatures.again(
            signature, principal, self.command, url, self.headers, without=TOKEN
        )
        return kept

    def _forward(self, headers: dict[str, str]) -> int:
        self._upstream.putrequest(
            self.command, self.path, skip_host=True, skip_accept_encoding=True
        )
        for name, value in headers.items():
            self._upstream.putheader(name, value)
        self._upstream.endheaders()
        while block := self._read():
            self._upstream.send(block)
        answer = self._upstream.getresponse()
        length = answer.headers.get("Content-Length")
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in HOP:
                self.send_header(name, value)
        empty = self.command == "HEAD" or answer.status in (204, 304)
        if length is None and not empty:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while block := answer.read(BLOCK):
            framed = b"%x\r\n%s\r\n" % (len(block), block) if length is None else block
            self.wfile.write(framed)
        if length is None and not empty:
            self.wfile.write(b"0\r\n\r\n")
        return answer.status

    def _read(self) -> bytes:
        block = self.rfile.read(min(BLOCK, self._left))
        self._left -= len(block)
        return block

    def _refuse(self, problem: AwsError) -> None:
        while self._read():
            pass
        response = errors.respond(problem, "s3", "stand")
        body = response.get_data()
        self.send_response_only(problem.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
