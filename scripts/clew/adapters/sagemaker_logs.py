"""A job's lines in CloudWatch Logs, as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clew.adapters.aws import Aws, code_of
from clew.container.messages import FAILED

PAGES = 20  # of one stream between two looks at the others
ABSENT = "ResourceNotFoundException"
OWN = "clew: "  # begins what clew itself says in a job
MARK = f"{OWN}{FAILED}"
TAIL = 1000  # lines in which the stage's last one is looked for


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
            for stream in streams(client, self._group, self._job):
                self._read(client, stream)
        except ClientError as error:
            if code_of(error) != ABSENT:
                raise

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


def streams(client: Any, group: str, job: str) -> list[str]:
    """Return the names of a job's log streams, one for each host and start."""
    pages = client.get_paginator("describe_log_streams").paginate(
        logGroupName=group, logStreamNamePrefix=f"{job}/"
    )
    return sorted(row["logStreamName"] for page in pages for row in page["logStreams"])


def last_line(aws: Aws, group: str, job: str) -> str:
    """Return the last line that a stage of a failed job printed, empty when it printed nothing."""
    from botocore.exceptions import ClientError

    client = aws.client("logs")
    found: list[str] = []
    try:
        for stream in streams(client, group, job):
            answer = client.get_log_events(logGroupName=group, logStreamName=stream, limit=TAIL)
            lines = [event["message"].strip() for event in answer["events"]]
            if MARK in lines:  # the host that failed; what follows is not the stage's
                found.insert(0, _last(lines[: lines.index(MARK)]))
            else:
                found.append(_last(lines))
    except ClientError as error:
        if code_of(error) != ABSENT:
            raise
    return found[0] if found else ""


def _last(lines: list[str]) -> str:
    last = next(filter(None, reversed(lines)), "")
    return "" if last.startswith(OWN) else last
