"""Endpoints on SageMaker, their configurations and models.

https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from clew.adapters.aws import code_of, message_of, translated
from clew.adapters.pace import Pace, PacedAws
from clew.adapters.s3_files import S3Files
from clew.adapters.sagemaker_requests import has_own_disks
from clew.config.model import SageMaker
from clew.errors import Unverifiable
from clew.serving import BUSY, Endpoint, Endpoints, ModelRefused, Served

FIRST_POLL, LAST_POLL = 1.0, 20.0  # seconds
ENDPOINT = "clew:endpoint"  # tag of a configuration: which endpoint it was made for
VARIANT = "AllTraffic"
DRAIN_SECONDS = 60  # for which the old instances still answer what is on its way to them
ABSENT = ("Could not find", "does not exist", "not found")
SEARCH_CHARACTERS = 36  # of the endpoint's name, which its configurations begin with


class SageMakerEndpoints(Endpoints):
    """The endpoints of one account and region."""

    def __init__(self, settings: SageMaker, pace: Pace) -> None:
        self._settings = settings
        self._aws = PacedAws(settings.region, pace)
        self._files = S3Files(self._aws, settings.kms_key)

    @property
    def _client(self) -> Any:
        return self._aws.client("sagemaker")

    @translated
    def find(self, name: str) -> Endpoint | None:
        found = self._absent_is_none("describe_endpoint", EndpointName=name)
        if found is None:
            return None
        return Endpoint(
            name=name,
            arn=found["EndpointArn"],
            status=found["EndpointStatus"],
            config=found.get("EndpointConfigName", ""),
            reason=found.get("FailureReason", ""),
            tags=self._tags_of(found["EndpointArn"]),
        )

    @translated
    def names(self) -> list[str]:
        pages = self._client.get_paginator("list_endpoints").paginate()
        return [one["EndpointName"] for page in pages for one in page["Endpoints"]]

    @translated
    def wait(self, name: str, on_status: Callable[[str], None]) -> Endpoint | None:
        pause, said = FIRST_POLL, ""
        while True:
            found = self._absent_is_none("describe_endpoint", EndpointName=name)
            if found is None:
                return None
            if found["EndpointStatus"] != said:
                said = found["EndpointStatus"]
                on_status(said)
            if said not in BUSY:
                return self.find(name)
            time.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311  # only to spread calls
            pause = min(pause * 1.3, LAST_POLL)

    @translated
    def served(self, config: str) -> Served | None:
        found = self._absent_is_none("describe_endpoint_config", EndpointConfigName=config)
        if found is None:
            return None
        names = [variant.get("ModelName") for variant in found["ProductionVariants"]]
        if len(names) > 1 or None in names:
            raise Unverifiable(
                f"the configuration {config} does not serve one model alone: clew did not make it",
                fix="Bring the model version that should be live there with `clew deploy`.",
            )
        model = str(names[0])
        made_of = self._absent_is_none("describe_model", ModelName=model)
        if made_of is None:
            return None
        containers = made_of.get("Containers") or [made_of.get("PrimaryContainer", {})]
        if len(containers) > 1:
            raise Unverifiable(f"the SageMaker model {model} is a chain: clew did not make it")
        tags = self._tags_of(found["EndpointConfigArn"])
        return Served(config, model, containers[0].get("ModelPackageName", ""), tags)

    @translated
    def has_model_data(self, package: str) -> bool | None:
        found = self._absent_is_none("describe_model_package", ModelPackageName=package)
        containers = (found or {}).get("InferenceSpecification", {}).get("Containers", [])
        uri = containers[0].get("ModelDataUrl") if containers else None
        etag = self._files.etag(str(uri)) if uri else None
        recorded = containers[0].get("ModelDataETag") if containers else None
        return None if None in (etag, recorded) else etag == recorded

    def settings(self) -> Mapping[str, object]:
        serving = self._settings.serving
        return {
            "role": self._role,
            "type": serving.instance.type,
            "count": serving.instance.count,
            "kms_key": self._settings.kms_key,
            "subnets": list(self._settings.network.subnets),
            "security_groups": list(self._settings.network.security_groups),
        }

    @property
    def _role(self) -> str:
        return self._settings.serving.role or self._settings.role

    @translated
    def make_config(self, name: str, package: str, endpoint: str, tags: Mapping[str, str]) -> None:
        labels = self._labels({**tags, ENDPOINT: endpoint})
        model: dict[str, Any] = {
            "ModelName": name,
            "ExecutionRoleArn": self._role,
            "Containers": [{"ModelPackageName": package}],
            "Tags": labels,
        }
        network, instance = self._settings.network, self._settings.serving.instance
        if network.subnets:
            groups = list(network.security_groups)
            model["VpcConfig"] = {"Subnets": list(network.subnets), "SecurityGroupIds": groups}
        self._made_or_there("create_model", **model)
        variant = {
            "VariantName": VARIANT,
            "ModelName": name,
            "InstanceType": instance.type,
            "InitialInstanceCount": instance.count,
        }
        config: dict[str, Any] = {
            "EndpointConfigName": name,
            "ProductionVariants": [variant],
            "Tags": labels,
        }
        if self._settings.kms_key and not has_own_disks(instance.type):
            config["KmsKeyId"] = self._settings.kms_key
        self._made_or_there("create_endpoint_config", **config)

    @translated
    def create(self, name: str, config: str, tags: Mapping[str, str]) -> None:
        self._made_or_there(
            "create_endpoint",
            EndpointName=name,
            EndpointConfigName=config,
            Tags=self._labels(tags),
        )

    @translated
    def update(self, name: str, config: str) -> None:
        routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
        self._client.update_endpoint(
            EndpointName=name,
            EndpointConfigName=config,
            DeploymentConfig={
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": routing,
                    "TerminationWaitInSeconds": DRAIN_SECONDS,
                }
            },
        )

    @translated
    def tag(self, endpoint: Endpoint, tags: Mapping[str, str]) -> None:
        self._client.add_tags(ResourceArn=endpoint.arn, Tags=self._labels(tags))

    @translated
    def invoke(self, name: str, body: bytes) -> bytes:
        from botocore.exceptions import ClientError

        try:
            answer = self._aws.client("sagemaker-runtime").invoke_endpoint(
                EndpointName=name,
                Body=body,
                ContentType="application/json",
                Accept="application/json",
            )
        except ClientError as error:
            if code_of(error) != "ModelError":
                raise
            raise ModelRefused(message_of(error).partition(" See ")[0]) from error
        return bytes(answer["Body"].read())

    @translated
    def delete(self, name: str) -> None:
        self._absent_is_none("delete_endpoint", EndpointName=name)

    @translated
    def delete_config(self, config: str) -> None:
        self._absent_is_none("delete_model", ModelName=config)  # last to go: what we find it by
        self._absent_is_none("delete_endpoint_config", EndpointConfigName=config)

    @translated
    def configs(self, endpoint: str) -> list[str]:
        pages = self._client.get_paginator("list_endpoint_configs").paginate(
            NameContains=endpoint[:SEARCH_CHARACTERS].strip("-")
        )
        rows = [row for page in pages for row in page["EndpointConfigs"]]
        return [
            row["EndpointConfigName"]
            for row in rows
            if self._tags_of(row["EndpointConfigArn"]).get(ENDPOINT) == endpoint
        ]

    # --- parts -------------------------------------------------------------------------------

    def _tags_of(self, arn: str) -> dict[str, str]:
        pages = self._client.get_paginator("list_tags").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}

    def _labels(self, tags: Mapping[str, str]) -> list[dict[str, str]]:
        every = {**self._settings.tags, **tags}
        return [{"Key": key, "Value": value} for key, value in every.items()]

    def _absent_is_none(self, operation: str, **request: Any) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        try:
            found: dict[str, Any] = getattr(self._client, operation)(**request)
        except ClientError as error:
            if any(words in message_of(error) for words in ABSENT):
                return None
            raise
        return found

    def _made_or_there(self, operation: str, **request: Any) -> None:
        """Make what has a name; whoever made it before us made the same."""
        from botocore.exceptions import ClientError

        try:
            getattr(self._client, operation)(**request)
        except ClientError as error:
            if "already exist" not in message_of(error):
                raise
