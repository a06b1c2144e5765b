"""The model registry: package groups and their numbered versions, see
https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry.html
"""

from __future__ import annotations

from tests.stand import jobs
from tests.stand.api import Listing, Record, answer_shape, now, operation, project
from tests.stand.errors import AwsError, validation
from tests.stand.identity import CONTROL
from tests.stand.models import check_data, data_of
from tests.stand.world import World

GROUPS = Listing(
    "ModelPackageGroupSummaryList", "ModelPackageGroupSummary", "ModelPackageGroupName"
)
PACKAGES = Listing(
    "ModelPackageSummaryList",
    "ModelPackageSummary",
    "ModelPackageArn",
    equals={
        "ModelPackageGroupName": "ModelPackageGroupName",
        "ModelApprovalStatus": "ModelApprovalStatus",
    },
)
MOST_PROPERTIES = 50


class Packages:
    """Versions count up within a group and are never given twice."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.groups: dict[str, Record] = {}
        self.packages: dict[str, Record] = {}  # by ARN
        self._last: dict[str, int] = {}
        self._tokens: dict[str, str] = {}  # ClientToken → ARN

    @operation("CreateModelPackageGroup")
    def create_group(self, request: Record) -> Record:
        name = request["ModelPackageGroupName"]
        arn = self._world.arn("model-package-group", name)
        with self._world.lock:
            if name in self.groups:
                raise validation(f"Model Package Group already exists: {arn}")
            self.groups[name] = {
                **request,
                "ModelPackageGroupArn": arn,
                "ModelPackageGroupStatus": "Completed",
                "CreationTime": now(),
                "CreatedBy": {},
            }
            self._world.tag(arn, request.get("Tags", []))
        return {"ModelPackageGroupArn": arn}

    @operation("DescribeModelPackageGroup")
    def describe_group(self, request: Record) -> Record:
        return project(
            self._group(request["ModelPackageGroupName"]),
            answer_shape("DescribeModelPackageGroup"),
        )

    def _group(self, name: str) -> Record:
        name = name.rpartition("/")[2]  # a name or an ARN
        if name not in self.groups:
            arn = self._world.arn("model-package-group", name)
            raise validation(f"ModelPackageGroup {arn} does not exist.")
        return self.groups[name]

    @operation("ListModelPackageGroups")
    def list_groups(self, request: Record) -> Record:
        return GROUPS(self.groups.values(), request)

    @operation("DeleteModelPackageGroup")
    def delete_group(self, request: Record) -> Record:
        name = self._group(request["ModelPackageGroupName"])["ModelPackageGroupName"]
        if any(one.get("ModelPackageGroupName") == name for one in self.packages.values()):
            raise AwsError(
                "ConflictException",
                f"Model Package Group {name} cannot be deleted because it contains model packages.",
            )
        self._world.tags.pop(self.groups.pop(name)["ModelPackageGroupArn"], None)
        return {}

    @operation("CreateModelPackage")
    def create(self, request: Record) -> Record:
        self._check(request)
        token = request.get("ClientToken", "")
        with self._world.lock:
            if token and token in self._tokens:
                return {"ModelPackageArn": self._tokens[token]}
            record = {**request, "ModelPackageStatus": "Completed", "CreationTime": now()}
            record |= self._numbered(request) if "ModelPackageGroupName" in request else {}
            name = record["ModelPackageName"]
            arn = record.setdefault("ModelPackageArn", self._world.arn("model-package", name))
            if arn in self.packages:
                raise validation(f"Model Package already exists: {arn}")
            record["ModelPackageStatusDetails"] = {"ValidationStatuses": []}
            record["LastModifiedTime"] = record["CreationTime"]
            self.packages[arn] = record
            self._tokens[token] = arn
            self._world.tag(arn, request.get("Tags", []))
        return {"ModelPackageArn": arn}

    def _check(self, request: Record) -> None:
        jobs.check_tags(request.get("Tags", []))
        if ("ModelPackageGroupName" in request) == ("ModelPackageName" in request):
            raise validation(
                "Exactly one of ModelPackageName and ModelPackageGroupName must be given."
            )
        if "ModelPackageGroupName" in request and request.get("Tags"):
            raise validation("Tags are not supported on versioned model packages; tag the group.")
        if len(request.get("CustomerMetadataProperties", {})) > MOST_PROPERTIES:
            raise validation(f"At most {MOST_PROPERTIES} CustomerMetadataProperties are allowed.")
        for one in request.get("InferenceSpecification", {}).get("Containers", []):
            jobs.check_image(one.get("Image", ""))
            if data := data_of(one):
                check_data(self._world, data, CONTROL.arn)

    def _numbered(self, request: Record) -> Record:
        group = self._group(request["ModelPackageGroupName"])["ModelPackageGroupName"]
        number = self._last[group] = self._last.get(group, 0) + 1
        return {
            "ModelPackageGroupName": group,
            "ModelPackageName": group,
            "ModelPackageVersion": number,
            "ModelPackageArn": self._world.arn("model-package", f"{group}/{number}"),
            "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
        }

    @operation("DescribeModelPackage")
    def describe(self, request: Record) -> Record:
        return project(
            self.package(request["ModelPackageName"]), answer_shape("DescribeModelPackage")
        )

    def package(self, name: str) -> Record:
        """By ARN, or by name when it is in no group."""
        arn = name if name.startswith("arn:") else self._world.arn("model-package", name)
        if arn not in self.packages:
            raise validation(f"ModelPackage {arn} does not exist.")
        return self.packages[arn]

    @operation("ListModelPackages")
    def list(self, request: Record) -> Record:
        if group := request.get("ModelPackageGroupName"):
            name = self._group(group)["ModelPackageGroupName"]
            request = {**request, "ModelPackageGroupName": name}
        kind = request.get("ModelPackageType", "Unversioned" if not group else "Versioned")
        wanted = {"Versioned": {True}, "Unversioned": {False}, "Both": {True, False}}[kind]
        chosen = [
            one for one in list(self.packages.values()) if ("ModelPackageVersion" in one) in wanted
        ]
        return PACKAGES(chosen, request)

    @operation("UpdateModelPackage")
    def update(self, request: Record) -> Record:
        record = self.package(request["ModelPackageArn"])
        with self._world.lock:
            properties = record.get("CustomerMetadataProperties", {}) | request.get(
                "CustomerMetadataProperties", {}
            )
            for name in request.get("CustomerMetadataPropertiesToRemove", []):
                properties.pop(name, None)
            if len(properties) > MOST_PROPERTIES:
                raise validation(
                    f"At most {MOST_PROPERTIES} CustomerMetadataProperties are allowed."
                )
            record |= request | {
                "CustomerMetadataProperties": properties,
                "LastModifiedTime": now(),
            }
        return {"ModelPackageArn": record["ModelPackageArn"]}

    @operation("DeleteModelPackage")
    def delete(self, request: Record) -> Record:
        arn = self.package(request["ModelPackageName"])["ModelPackageArn"]
        del self.packages[arn]
        self._world.tags.pop(arn, None)
        return {}
