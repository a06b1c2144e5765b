"""Models and endpoint configurations: what an endpoint is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.stand import jobs, transfer
from tests.stand.api import Listing, Record, answer_shape, now, operation, project
from tests.stand.errors import validation
from tests.stand.world import World

MODELS = Listing("Models", "ModelSummary", "ModelName", ascending=False)
CONFIGS = Listing("EndpointConfigs", "EndpointConfigSummary", "EndpointConfigName", ascending=False)


class Models:
    """Both kinds can't be changed, only made and deleted."""

    def __init__(self, world: World, package: Callable[[str], Record]) -> None:
        self._world = world
        self._package = package
        self.models: dict[str, Record] = {}
        self.configs: dict[str, Record] = {}

    @operation("CreateModel")
    def create_model(self, request: Record) -> Record:
        name = request["ModelName"]
        arn = self._world.arn("model", name)
        containers = containers_of(request)
        if not containers:
            raise validation("Either PrimaryContainer or Containers must be given.")
        if role := request.get("ExecutionRoleArn"):
            jobs.check_role(self._world, role)
        for one in containers:
            self.resolve(one, role)
        self._keep(self.models, name, arn, "model", {**request, "ModelArn": arn})
        return {"ModelArn": arn}

    def resolve(self, one: Record, role: str | None) -> Record:
        """Image, data and environment of a container, also when it names a model package."""
        if "ModelPackageName" in one:
            package = self._package(one["ModelPackageName"])
            if package.get("ModelApprovalStatus", "Approved") != "Approved":
                raise validation(
                    f"Model package {package['ModelPackageArn']} is not in Approved status."
                )
            (inner, *_) = package["InferenceSpecification"]["Containers"]
            own = {**inner.get("Environment", {}), **one.get("Environment", {})}
            one = {**inner, "Environment": own}
        jobs.check_image(one.get("Image", ""))
        if role and (data := data_of(one)):
            check_data(self._world, data, role)
        return one

    @operation("DescribeModel")
    def describe_model(self, request: Record) -> Record:
        record = self.model(request["ModelName"])
        return project(record, answer_shape("DescribeModel"))

    def model(self, name: str) -> Record:
        if name not in self.models:
            raise validation(f'Could not find model "{self._world.arn("model", name)}".')
        return self.models[name]

    @operation("ListModels")
    def list_models(self, request: Record) -> Record:
        return MODELS(self.models.values(), request)

    @operation("DeleteModel")
    def delete_model(self, request: Record) -> Record:
        self._world.tags.pop(self.model(request["ModelName"])["ModelArn"], None)
        del self.models[request["ModelName"]]
        return {}

    @operation("CreateEndpointConfig")
    def create_config(self, request: Record) -> Record:
        name = request["EndpointConfigName"]
        arn = self._world.arn("endpoint-config", name)
        for variant in request["ProductionVariants"]:
            if "ModelName" not in variant:
                raise validation("The stand needs a ModelName in each production variant.")
            self.model(variant["ModelName"])
        record = {**request, "EndpointConfigArn": arn}
        self._keep(self.configs, name, arn, "endpoint configuration", record)
        return {"EndpointConfigArn": arn}

    @operation("DescribeEndpointConfig")
    def describe_config(self, request: Record) -> Record:
        record = self.config(request["EndpointConfigName"])
        return project(record, answer_shape("DescribeEndpointConfig"))

    def config(self, name: str) -> Record:
        if name not in self.configs:
            arn = self._world.arn("endpoint-config", name)
            raise validation(f'Could not find endpoint configuration "{arn}".')
        return self.configs[name]

    @operation("ListEndpointConfigs")
    def list_configs(self, request: Record) -> Record:
        return CONFIGS(self.configs.values(), request)

    @operation("DeleteEndpointConfig")
    def delete_config(self, request: Record) -> Record:
        record = self.config(request["EndpointConfigName"])
        self._world.tags.pop(record["EndpointConfigArn"], None)
        del self.configs[request["EndpointConfigName"]]
        return {}

    def _keep(
        self, table: dict[str, Record], name: str, arn: str, kind: str, record: Record
    ) -> None:
        jobs.check_tags(record.get("Tags", []))
        with self._world.lock:
            if name in table:
                raise validation(f'Cannot create already existing {kind} "{arn}".')
            table[name] = {**record, "CreationTime": now()}
            self._world.tag(arn, record.get("Tags", []))


def containers_of(record: Record) -> list[Record]:
    """One container, or the several of a pipeline."""
    if "PrimaryContainer" in record:
        return [record["PrimaryContainer"]]
    containers: list[Record] = record.get("Containers", [])
    return containers


def data_of(one: Record) -> str:
    """Where the model's data is, by either of the two ways to say it."""
    source: dict[str, Any] = one.get("ModelDataSource", {}).get("S3DataSource", {})
    found: str = one.get("ModelDataUrl") or source.get("S3Uri", "")
    return found


def check_data(world: World, uri: str, role: str) -> None:
    """SageMaker looks for the data when the model is made, with the role's rights."""
    try:
        found = transfer.keys_under(world.s3(role), uri)
    except Exception:
        found = []
    if not found:
        raise validation(f"Could not find model data at {uri}.")
