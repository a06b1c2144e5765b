"""Search over jobs, packages, models, endpoints and trial components, see
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Search.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tests.stand.api import Record, cut, operation, project
from tests.stand.errors import validation
from tests.stand.world import World

# What Search calls a resource → member of the result and its shape.
KINDS = {
    "TrainingJob": "TrainingJob",
    "ModelPackage": "ModelPackage",
    "ModelPackageGroup": "ModelPackageGroup",
    "Endpoint": "Endpoint",
    "ExperimentTrialComponent": "TrialComponent",
}
PAGE = 50


class Search:
    """Reads the other parts' records; `sources` has a function and the ARN's member by kind."""

    def __init__(
        self, world: World, sources: dict[str, tuple[Callable[[], Iterable[Record]], str]]
    ) -> None:
        self._world = world
        self._sources = sources

    @operation("Search")
    def search(self, request: Record) -> Record:
        kind = request["Resource"]
        if kind not in self._sources:
            raise validation(f"The stand doesn't imitate Search for {kind}.")
        read, arn_member = self._sources[kind]
        expression = request.get("SearchExpression", {})
        found = []
        for record in list(read()):
            tags = self._world.tags.get(record[arn_member], {})
            whole = {**record, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}
            if _matches(whole, expression):
                found.append(whole)
        by = request.get("SortBy", "LastModifiedTime")
        descending = request.get("SortOrder", "Descending") == "Descending"
        found.sort(key=lambda record: str(_value(record, by)), reverse=descending)
        page, token = cut(found, request, PAGE)
        member = KINDS[kind]
        answer: Record = {"Results": [{member: project(one, member)} for one in page]}
        return answer | ({"NextToken": token} if token else {})


def _matches(record: Record, expression: Record) -> bool:
    if "NestedFilters" in expression:
        raise validation("The stand doesn't imitate NestedFilters.")
    parts = [_passes(record, one) for one in expression.get("Filters", [])]
    parts += [_matches(record, one) for one in expression.get("SubExpressions", [])]
    if not parts:
        return True
    return any(parts) if expression.get("Operator") == "Or" else all(parts)


def _passes(record: Record, one: Record) -> bool:
    found, wanted = _value(record, one["Name"]), str(one.get("Value", ""))
    match one.get("Operator", "Equals"):
        case "Exists":
            return found is not None
        case "NotExists":
            return found is None
        case "NotEquals":
            return str(found) != wanted
        case "Contains":
            return found is not None and wanted.lower() in str(found).lower()
        case "In":
            return str(found) in wanted.split(",")
        case "Equals":
            return found is not None and str(found) == wanted
        case compare:
            return found is not None and _compare(compare, float(found), float(wanted))


def _compare(how: str, found: float, wanted: float) -> bool:
    return {
        "GreaterThan": found > wanted,
        "GreaterThanOrEqualTo": found >= wanted,
        "LessThan": found < wanted,
        "LessThanOrEqualTo": found <= wanted,
    }[how]


def _value(record: Any, name: str) -> Any:
    """`Tags.key`, `HyperParameters.lr`, `ResourceConfig.InstanceType`, …"""
    if name.startswith("Tags."):
        tags = {tag["Key"]: tag["Value"] for tag in record["Tags"]}
        return tags.get(name.removeprefix("Tags."))
    for part in name.split("."):
        if not isinstance(record, dict) or part not in record:
            return None
        record = record[part]
    return record
