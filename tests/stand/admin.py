"""The stand's own HTTP interface, below /stand/: faults, the record of calls, its health."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.stand.world import World

FAULTS = frozenset({"throttle", "fail", "deny", "no_capacity", "internal_error", "slow_start"})


class Admin:
    """Each path has one small answer in JSON."""

    def __init__(self, world: World, interrupt: Callable[[str], bool]) -> None:
        self._world = world
        self._interrupt = interrupt

    def __call__(self, request: Request) -> Response:
        path = request.path.removeprefix("/stand/").split("/")
        status, answer = self._answer(request.method, path, request.get_data())
        return Response(json.dumps(answer), status, content_type="application/json")

    def _answer(self, method: str, path: list[str], body: bytes) -> tuple[int, Any]:
        match method, path:
            case "GET", ["health"]:
                return 200, "ok"
            case "GET", ["calls"]:
                return 200, self._world.calls.all()
            case "DELETE", ["calls"]:
                self._world.calls.clear()
            case "DELETE", ["faults"]:
                self._world.faults.clear()
            case "POST", ["faults", name] if name in FAULTS:
                getattr(self._world.faults, name)(**json.loads(body))
            case "POST", ["jobs", name, "interrupt"]:
                if not self._interrupt(name):
                    return 409, f"{name} is no running job with managed spot training"
            case _:
                return 404, f"no {method} {'/'.join(path)}"
        return 200, None
