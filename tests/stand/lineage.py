"""Lineage: artifacts, actions, contexts, trial components and the associations between them, see
https://docs.aws.amazon.com/sagemaker/latest/dg/lineage-tracking-entities.html
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterable

from tests.stand.api import Handler, Listing, Record, answer_shape, cut, now, operation, project
from tests.stand.api import operations_of as marked
from tests.stand.errors import not_found, validation
from tests.stand.world import World

KINDS = {  # kind → how it is written in ARNs
    "Artifact": "artifact",
    "Action": "action",
    "Context": "context",
    "TrialComponent": "experiment-trial-component",
}
EDGES = Listing(
    "AssociationSummaries",
    "AssociationSummary",
    "SourceArn",
    ascending=False,
    equals={
        name: name
        for name in (
            "SourceArn",
            "DestinationArn",
            "SourceType",
            "DestinationType",
            "AssociationType",
        )
    },
)
PAGE = 10


class Lineage:
    """Entities by ARN; an artifact has a number, the others their name."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.entities: dict[str, Record] = {}
        self.edges: dict[tuple[str, str], Record] = {}
        self._count = itertools.count(1)

    def operations(self) -> dict[str, Handler]:
        """The same five operations for each kind, and those on associations."""
        found: dict[str, Handler] = dict(marked(self))
        for kind in KINDS:
            listing = Listing(
                f"{kind}Summaries",
                f"{kind}Summary",
                f"{kind}Name",
                ascending=False,
                equals={f"{kind}Type": f"{kind}Type", "SourceUri": "SourceUri"}
                if kind != "TrialComponent"
                else {"SourceArn": "SourceArn"},
            )
            found |= {
                f"Create{kind}": functools.partial(self._create, kind),
                f"Describe{kind}": functools.partial(self._describe, kind),
                f"List{kind}s": functools.partial(self._list, kind, listing),
                f"Update{kind}": functools.partial(self._update, kind),
                f"Delete{kind}": functools.partial(self._delete, kind),
            }
        return found

    def of_kind(self, kind: str) -> Iterable[Record]:
        return [one for one in list(self.entities.values()) if one["Kind"] == kind]

    def _list(self, kind: str, listing: Listing, request: Record) -> Record:
        return listing(self.of_kind(kind), request)

    def _create(self, kind: str, request: Record) -> Record:
        name = request.get(f"{kind}Name", "")
        if kind == "Artifact":
            number = f"{next(self._count)}:{request['Source']['SourceUri']}"
            arn = self._world.arn("artifact", hashlib.md5(number.encode()).hexdigest())
        else:
            arn = self._world.arn(KINDS[kind], name)
        with self._world.lock:
            if arn in self.entities:
                raise validation(
                    f"{kind} names must be unique within an AWS account and region. "
                    f"{kind} with name ({name}) already exists."
                )
            moment = now()
            self.entities[arn] = {
                **request,
                "Kind": kind,
                f"{kind}Arn": arn,
                "SourceUri": request.get("Source", {}).get("SourceUri"),
                "CreationTime": moment,
                "LastModifiedTime": moment,
                "CreatedBy": {},
            }
            self._world.tag(arn, request.get("Tags", []))
        return {f"{kind}Arn": arn}

    def _find(self, kind: str, request: Record) -> Record:
        """By ARN or name; DeleteArtifact also knows the source."""
        given = request.get(f"{kind}Arn") or request.get(f"{kind}Name")
        for arn, one in list(self.entities.items()):
            by_source = given is None and one.get("Source") == request.get("Source")
            if one["Kind"] == kind and (given in (arn, one.get(f"{kind}Name")) or by_source):
                return one
        raise not_found(f"{kind} '{given}' does not exist.")

    def _describe(self, kind: str, request: Record) -> Record:
        return project(self._find(kind, request), answer_shape(f"Describe{kind}"))

    def _update(self, kind: str, request: Record) -> Record:
        record = self._find(kind, request)
        with self._world.lock:
            properties = record.get("Properties", {}) | request.get("Properties", {})
            for name in request.get("PropertiesToRemove", []):
                properties.pop(name, None)
            record |= {**request, "LastModifiedTime": now()}
            if properties:
                record["Properties"] = properties
        return {f"{kind}Arn": record[f"{kind}Arn"]}

    def _delete(self, kind: str, request: Record) -> Record:
        arn = self._find(kind, request)[f"{kind}Arn"]
        with self._world.lock:
            if any(arn in edge for edge in self.edges):
                raise validation(f"{kind} {arn} can't be deleted: it still has associations.")
            del self.entities[arn]
            self._world.tags.pop(arn, None)
        return {f"{kind}Arn": arn}

    @operation("AddAssociation")
    def add(self, request: Record) -> Record:
        key = (request["SourceArn"], request["DestinationArn"])
        ends = [self._entity(arn) for arn in key]
        with self._world.lock:
            if key in self.edges:
                raise validation(f"Association between {key[0]} and {key[1]} already exists.")
            self.edges[key] = {
                "AssociationType": "AssociatedWith",
                **request,
                "CreationTime": now(),
                "CreatedBy": {},
            }
            for side, end in zip(("Source", "Destination"), ends, strict=True):
                self.edges[key] |= {f"{side}Type": _type(end), f"{side}Name": _name(end)}
        return {"SourceArn": key[0], "DestinationArn": key[1]}

    def _entity(self, arn: str) -> Record:
        if arn not in self.entities:
            raise not_found(f"Lineage entity {arn} does not exist.")
        return self.entities[arn]

    @operation("DeleteAssociation")
    def remove(self, request: Record) -> Record:
        key = (request["SourceArn"], request["DestinationArn"])
        if self.edges.pop(key, None) is None:
            raise not_found(f"Association between {key[0]} and {key[1]} does not exist.")
        return {"SourceArn": key[0], "DestinationArn": key[1]}

    @operation("ListAssociations")
    def list(self, request: Record) -> Record:
        return EDGES(self.edges.values(), request)

    @operation("QueryLineage")
    def query(self, request: Record) -> Record:
        """Everything reached from the start in the direction asked for, nearest first."""
        direction = request.get("Direction", "Both")
        seen = dict.fromkeys(request.get("StartArns", []))
        for arn in seen:
            self._entity(arn)
        frontier, edges = list(seen), dict[tuple[str, str], Record]()
        for _ in range(request.get("MaxDepth", PAGE)):
            reached: list[str] = []
            for key, edge in list(self.edges.items()):
                for near, far, way in ((0, 1, "Descendants"), (1, 0, "Ascendants")):
                    if direction in (way, "Both") and key[near] in frontier:
                        edges[key] = edge
                        reached += [key[far]] if key[far] not in seen else []
            seen |= dict.fromkeys(reached)
            frontier = reached
        starts = request.get("StartArns", [])
        vertices = [_vertex(self._entity(arn)) for arn in seen if arn not in starts]
        chosen = [one for one in vertices if _wanted(one, request.get("Filters", {}))]
        page, token = cut(chosen, request, PAGE)
        answer: Record = {"Vertices": list(page)} | ({"NextToken": token} if token else {})
        if request.get("IncludeEdges", True):
            answer["Edges"] = [project(edge, "Edge") for edge in edges.values()]
        return answer

    def job_made(self, record: Record) -> None:
        """SageMaker makes a trial component of each job, see
        https://docs.aws.amazon.com/sagemaker/latest/dg/lineage-tracking-auto-creation.html
        """
        kind = "training" if "TrainingJobName" in record else "processing"
        name = record[f"{kind.capitalize()}JobName"]
        arn = record[f"{kind.capitalize()}JobArn"]
        source = {"SourceArn": arn, "SourceType": f"SageMaker{kind.capitalize()}Job"}
        made = self._create(
            "TrialComponent", {"TrialComponentName": f"{name}-aws-{kind}-job".lower()}
        )
        entity = self.entities[made["TrialComponentArn"]]
        entity |= {
            "DisplayName": entity["TrialComponentName"],
            "Source": source,
            "TrialComponentSource": source,
            "SourceArn": arn,
        }


def _type(entity: Record) -> str:
    kind = entity["Kind"]
    if kind == "TrialComponent":
        source: str = entity.get("Source", {}).get("SourceType", "TrialComponent")
        return source
    text: str = entity[f"{kind}Type"]
    return text


def _name(entity: Record) -> str:
    name: str = entity.get(f"{entity['Kind']}Name") or entity[f"{entity['Kind']}Arn"]
    return name


def _vertex(entity: Record) -> Record:
    kind = entity["Kind"]
    return {"Arn": entity[f"{kind}Arn"], "Type": _type(entity), "LineageType": kind}


def _wanted(vertex: Record, filters: Record) -> bool:
    return vertex["Type"] in filters.get("Types", [vertex["Type"]]) and vertex[
        "LineageType"
    ] in filters.get("LineageTypes", [vertex["LineageType"]])
