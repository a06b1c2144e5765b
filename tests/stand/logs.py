"""CloudWatch Logs: kept by moto, written by the jobs while they run."""

from __future__ import annotations

import threading
import time
from typing import Any

from moto.logs.models import logs_backends

from tests.stand.errors import AwsError
from tests.stand.identity import ACCOUNT, REGION

LONGEST = 256 * 1024 - 26  # bytes of one event


class Logs:
    """Groups and streams as SageMaker makes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @property
    def _groups(self) -> dict[str, Any]:
        groups: dict[str, Any] = logs_backends[ACCOUNT][REGION].groups
        return groups

    def open(self, group: str, stream: str) -> Stream:
        """A new stream; its group appears with the first of them, as on AWS."""
        with self._lock:
            logs_backends[ACCOUNT][REGION].ensure_log_group(group)
            if stream not in self._groups[group].streams:
                self._groups[group].create_log_stream(stream)
        return Stream(self._groups[group].streams[stream], self._lock)

    def with_names(self, request: dict[str, Any]) -> dict[str, Any]:
        """Moto ignores logStreamNamePrefix: name the streams that it means."""
        group = self._groups.get(request.get("logGroupName", ""))
        prefix = request.get("logStreamNamePrefix")
        if group is None or prefix is None:
            return request
        names = [name for name in group.streams if name.startswith(prefix)]
        kept = {key: value for key, value in request.items() if key != "logStreamNamePrefix"}
        return {**kept, "logStreamNames": names or ["no stream has this name"]}

    def check_stream(self, request: dict[str, Any]) -> None:
        """Moto calls a missing stream a missing group; CloudWatch Logs tells them apart."""
        group = self._groups.get(request.get("logGroupName", ""))
        if group is not None and request.get("logStreamName") not in group.streams:
            raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")


class Stream:
    """One log stream, written line by line."""

    def __init__(self, stream: Any, lock: threading.Lock) -> None:
        self._stream = stream
        self._lock = lock

    def write(self, lines: list[str]) -> None:
        moment = int(time.time() * 1000)
        events = [{"timestamp": moment, "message": line[:LONGEST]} for line in lines if line]
        if events:
            with self._lock:
                self._stream.put_log_events(events)
