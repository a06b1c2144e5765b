"""The Python client of the stand's own interface, see `admin.py`."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any


class StandClient:
    """Faults on demand and the record of calls, for the stand at an endpoint."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def calls(self) -> list[dict[str, Any]]:
        """Every API call so far: time, service, operation, action, principal, status, error."""
        calls: list[dict[str, Any]] = self._ask("GET", "calls")
        return calls

    def forget_calls(self) -> None:
        self._ask("DELETE", "calls")

    def no_faults(self) -> None:
        """Nothing goes wrong any more."""
        self._ask("DELETE", "faults")

    def throttle(self, rate: float, action: str = "*") -> None:
        """Refuse this share of calls; an action is written as in IAM policies."""
        self._ask("POST", "faults/throttle", rate=rate, action=action)

    def fail(
        self, action: str, code: str, message: str = "", status: int = 400, times: int = 1
    ) -> None:
        """Answer the next calls of an action with an error."""
        self._ask(
            "POST",
            "faults/fail",
            action=action,
            code=code,
            message=message,
            status=status,
            times=times,
        )

    def deny(self, action: str, principal: str = "*") -> None:
        """Refuse an action to the principals whose ARN matches, as missing rights are."""
        self._ask("POST", "faults/deny", action=action, principal=principal)

    def no_capacity(self, job: str = "*", times: int = 1) -> None:
        """Let the next jobs of this name fail with CapacityError."""
        self._ask("POST", "faults/no_capacity", job=job, times=times)

    def internal_error(self, job: str = "*", times: int = 1) -> None:
        """Let the next jobs of this name fail with InternalServerError."""
        self._ask("POST", "faults/internal_error", job=job, times=times)

    def slow_start(self, seconds: float, job: str = "*", times: int = 1) -> None:
        """Keep the next jobs of this name in Starting."""
        self._ask("POST", "faults/slow_start", seconds=seconds, job=job, times=times)

    def interrupt(self, job: str) -> None:
        """Take the spot capacity of a running training job away."""
        self._ask("POST", f"jobs/{job}/interrupt")

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        request = urllib.request.Request(
            f"{self._endpoint}/stand/{path}",
            data=json.dumps(arguments).encode() if method == "POST" else None,
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            raise ValueError(error.read().decode()) from error
