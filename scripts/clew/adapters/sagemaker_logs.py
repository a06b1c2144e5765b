"""A job's lines in CloudWatch Logs, as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clew.adapters.aws import Aws, code_of

PAGES = 20  # of one stream between two looks at the others


class LogTail:
    """Hands on each line of a job's hosts once; further hosts are named in front of theirs."""

    def __init__(self, aws: Aws, group: str, job: str, on_line: Callable[[str], None]) -> None:
        self._aws = aws
        self._group = group
        self._job = job
        self._on_line = on_line
        self._tokens: dict[str, str] = {}  # by stream

    def read(self) -> None:
        """Hand on what came since the last time; nothing while there is no log yet."""
        from botocore.exceptions import ClientError

        client = self._aws.client("logs")
        try:
            for stream in self._streams(client):
                self._read(client, stream)
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise

    def _streams(self, client: Any) -> list[str]:
        found = client.describe_log_streams(
            logGroupName=self._group, logStreamNamePrefix=f"{self._job}/"
        )
        return sorted(row["logStreamName"] for row in found["logStreams"])

    def _read(self, client: Any, stream: str) -> None:
        host = stream.rpartition("/")[2].rpartition("-")[0]
        front = "" if host in ("", "algo-1") else f"[{host}] "
        for _ in range(PAGES):
            token = self._tokens.get(stream)
            answer = client.get_log_events(
                logGroupName=self._group,
                logStreamName=stream,
                startFromHead=True,
                **({"nextToken": token} if token else {}),
            )
            for event in answer["events"]:
                self._on_line(f"{front}{event['message']}".rstrip())
            self._tokens[stream] = answer["nextForwardToken"]
            if answer["nextForwardToken"] == token:
                return
