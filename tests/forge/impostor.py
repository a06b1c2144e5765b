"""A forge's own address on this machine: a proxy that leads its name, by TLS, to a stub.

Where a CI system names no API, clew asks the public one by its name, and no setting of clew's says
otherwise. What is started with `Impostor.environment` finds the stub there.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Impostor:
    environment: Mapping[str, str]  # of a process that takes the stub for the forge


@contextmanager
def posing(as_host: str, stub_url: str, folder: Path) -> Iterator[Impostor]:
    """Answer for a host by a stub; every other name is refused."""
    certificate = _certificate(as_host, folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    stub = urlsplit(stub_url)

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            if self.path != f"{as_host}:443":
                self.send_error(403)
                return
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            with (
                contextlib.suppress(OSError),
                context.wrap_socket(self.connection, server_side=True) as outside,
                socket.create_connection((stub.hostname or "", stub.port or 80)) as inside,
            ):
                back = threading.Thread(target=_pour, args=(inside, outside), daemon=True)
                back.start()
                _pour(outside, inside)
                back.join()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    proxy = f"http://127.0.0.1:{server.server_port}"
    try:
        yield Impostor({"HTTPS_PROXY": proxy, "REQUESTS_CA_BUNDLE": str(certificate)})
    finally:
        server.shutdown()
        server.server_close()


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65_536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


def _certificate(host: str, folder: Path) -> Path:
    """Write a key and its certificate, which vouches for itself, into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / f"{host}.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path
