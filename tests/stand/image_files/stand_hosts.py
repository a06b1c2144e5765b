"""The container network's DNS: `algo-1`, `algo-2` … become loopback addresses of this job.

Loaded at the start of every Python in a job (by a .pth file); the addresses come from the
environment, `STAND_HOSTS=algo-1=127.9.1.1,algo-2=127.9.1.2`.
"""

from __future__ import annotations

import os
from typing import Any

HOSTS = dict(
    entry.split("=", 1) for entry in os.environ.get("STAND_HOSTS", "").split(",") if "=" in entry
)


def _address(host: Any) -> Any:
    return HOSTS.get(host, host) if isinstance(host, str) else host


def _resolver(function: Any) -> Any:
    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        return function(_address(host), *arguments, **options)

    return resolve


def _method(function: Any) -> Any:
    """Connecting and binding resolve names in C, so the name is replaced before."""

    def call(self: Any, where: Any) -> Any:
        if isinstance(where, tuple):
            where = (_address(where[0]), *where[1:])
        return function(self, where)

    return call


def _install() -> None:
    import _socket
    import socket

    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        setattr(socket, name, _resolver(getattr(socket, name)))
    for name in ("connect", "connect_ex", "bind"):
        setattr(socket.socket, name, _method(getattr(_socket.socket, name)))


if HOSTS:
    _install()
