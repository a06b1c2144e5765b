"""What every part of the SageMaker API shares: operations by name, answers cut to their shape."""

from __future__ import annotations

import base64
import binascii
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.stand.errors import validation
from tests.stand.validation import operation_model, service_model

Record = dict[str, Any]
Handler = Callable[[Record], Record]


def operation(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a method as the implementation of an AWS operation."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.aws_operation = name  # type: ignore[attr-defined]
        return function

    return mark


def operations_of(api: object) -> dict[str, Handler]:
    """The operations that an object implements."""
    methods = (getattr(api, name) for name in dir(type(api)) if not name.startswith("__"))
    return {method.aws_operation: method for method in methods if hasattr(method, "aws_operation")}


def now() -> float:
    """AWS's timestamps are epoch seconds with milliseconds, also inside the stand."""
    return round(time.time(), 3)


def project(record: Record, shape: str) -> Record:
    """The members of a record that a shape of SageMaker's model has."""
    members = service_model("sagemaker").shape_for(shape).members
    return {name: record[name] for name in members if record.get(name) is not None}


def answer_shape(operation_name: str) -> str:
    shape = operation_model("sagemaker", operation_name).output_shape
    return str(shape.name)


@dataclass(frozen=True)
class Listing:
    """How one List operation filters, sorts and cuts."""

    result: str  # member of the answer that holds the list
    summary: str  # shape of one entry
    name: str  # member of the record that NameContains and SortBy=Name mean
    status: str = ""  # member that StatusEquals means
    ascending: bool = True  # when SortOrder is not given
    page_size: int = 10
    equals: dict[str, str] = field(default_factory=dict)  # further filters: parameter → member

    def __call__(self, records: Iterable[Record], request: Record) -> Record:
        # Copied at once: other threads add records meanwhile.
        chosen = [record for record in list(records) if self._chosen(record, request)]
        order = request.get("SortOrder", "Ascending" if self.ascending else "Descending")
        # Equal keys keep one order over all pages: by name.
        chosen.sort(key=lambda record: str(record.get(self.name)))
        chosen.sort(key=self._sort_key(request), reverse=order == "Descending")
        page, token = cut(chosen, request, self.page_size)
        answer: Record = {self.result: [project(record, self.summary) for record in page]}
        return answer | ({"NextToken": token} if token else {})

    def _chosen(self, record: Record, request: Record) -> bool:
        wanted = {self.status: request.get("StatusEquals")} if self.status else {}
        wanted |= {member: request.get(name) for name, member in self.equals.items()}
        if any(value is not None and record.get(name) != value for name, value in wanted.items()):
            return False
        contains = request.get("NameContains", "")
        if contains.lower() not in str(record.get(self.name, "")).lower():
            return False
        return all(_in_time(record, request, member) for member in TIMES)

    def _sort_key(self, request: Record) -> Callable[[Record], Any]:
        by = request.get("SortBy", "CreationTime")
        if by == "Name":
            return lambda record: str(record.get(self.name))
        if by == "Status":
            return lambda record: str(record.get(self.status))
        return lambda record: record.get("CreationTime", 0)


TIMES = ("CreationTime", "LastModifiedTime")


def _in_time(record: Record, request: Record, member: str) -> bool:
    moment = float(record.get(member) or record["CreationTime"])
    after = float(request.get(f"{member}After") or request.get("CreatedAfter") or 0)
    before = float(request.get(f"{member}Before") or request.get("CreatedBefore") or math.inf)
    return after <= moment <= before


def cut(
    items: Sequence[Record], request: Record, page_size: int
) -> tuple[Sequence[Record], str | None]:
    """One page and the token of the next; SageMaker's own default is ten entries a page."""
    start = _offset(request.get("NextToken"))
    end = start + request.get("MaxResults", page_size)
    token = base64.b64encode(f"stand-page:{end}".encode()).decode() if end < len(items) else None
    return items[start:end], token


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.b64decode(token, validate=True).decode().removeprefix("stand-page:"))
    except (binascii.Error, ValueError) as error:
        raise validation("Invalid pagination token.") from error
