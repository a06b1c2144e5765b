"""The record of every API call: what a policy has to allow, and what a test can count."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from tests.stand.api import now
from tests.stand.identity import Principal

KEPT = 200_000


class CallLog:
    """Calls in the order in which they were answered."""

    def __init__(self) -> None:
        self._calls: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def add(
        self,
        service: str,
        operation: str,
        principal: Principal | None,
        status: int,
        error: str | None = None,
        resource: dict[str, Any] | None = None,
        action: str | None = None,
    ) -> None:
        """The action is the right that a policy has to give, where it has another name."""
        entry = {
            "time": now(),
            "service": service,
            "operation": operation,
            "action": action or f"{service.removesuffix('-runtime')}:{operation}",
            "principal": principal.arn if principal else None,
            "access_key": principal.access_key if principal else None,
            "status": status,
            "error": error,
            "resource": resource or {},
        }
        with self._lock:
            self._calls.append(entry)

    def all(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._calls)

    def clear(self) -> None:
        with self._lock:
            self._calls.clear()


def resource_of(request: Any) -> dict[str, Any]:
    """The names and ARNs at the top of a request: what a policy's Resource would match."""
    if not isinstance(request, dict):
        return {}
    endings = ("Name", "Arn", "name", "Arns")
    return {name: value for name, value in request.items() if name.endswith(endings)}
