"""Endpoints on Amazon SageMaker, each config with its own model from one model package.

https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green-all-at-once.html
"""

from __future__ import annotations

import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clew.adapters.aws import code_of, message_of, translated
from clew.adapters.pace import Pace, PacedAws
from clew.adapters.s3_files import ABSENT, S3Files, split
from clew.adapters.sagemaker import FIRST_POLL, LAST_POLL
from clew.config.model import SageMaker
from clew.errors import ConfigError, OutsideError
from clew.serving import (
    CHANGING,
    OF_ENDPOINT,
    PIPELINE,
    Container,
    Endpoint,
    EndpointConfig,
    Endpoints,
    Part,
    ServedModel,
    is_release_of,
)

VARIANT = "AllTraffic"
JSON = "application/json"
EXAMPLE = "serving_input_example.json"  # mlflow.models.utils.SERVING_INPUT_FILENAME
KEEP_OLD_SECONDS = 60  # for requests that are on their way to the old instances
DEPLOYMENT = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
        "TerminationWaitInSeconds": KEEP_OLD_SECONDS,
    }
}
NONE = ("could not find", "does not exist", "not found")  # what SageMaker says of what isn't there
Request = dict[str, Any]


class SageMakerEndpoints(Endpoints):
    """The endpoints of one region."""

    def __init__(self, settings: SageMaker, pace: Pace) -> None:
        self._settings = settings
        self._aws = PacedAws(settings.region, pace)
        self._files = S3Files(self._aws, settings.kms_key)

    @property
    def _client(self) -> Any:
        return self._aws.client("sagemaker")

    @translated
    def find(self, name: str) -> Endpoint | None:
        found = self._described(name)
        if found is None:
            return None
        return _endpoint(found, self._tags(found["EndpointArn"]))

    @translated
    def settled(self, name: str, on_line: Callable[[str], None]) -> Endpoint | None:
        pause, said = FIRST_POLL, ""
        while (found := self._described(name)) is not None:
            status = found["EndpointStatus"]
            if status != said:
                on_line(f"SageMaker: {status}")
                said = status
            if status not in CHANGING:
                return _endpoint(found, self._tags(found["EndpointArn"]))
            time.sleep(pause)
            pause = min(pause * 1.3, LAST_POLL)
        return None

    @translated
    def config(self, name: str) -> EndpointConfig | None:
        found = self._there(self._client.describe_endpoint_config, EndpointConfigName=name)
        if found is None:
            return None
        names = [variant.get("ModelName", "") for variant in found["ProductionVariants"]]
        return EndpointConfig(name, tuple(self._model(one) for one in names))

    @translated
    def container(self, package: str) -> Container | None:
        found = self._there(self._client.describe_model_package, ModelPackageName=package)
        containers = (found or {}).get("InferenceSpecification", {}).get("Containers", [])
        if len(containers) != 1 or "ModelDataUrl" not in containers[0]:
            return None
        return Container(containers[0]["Image"], containers[0]["ModelDataUrl"])

    @translated
    def has(self, model_data: str) -> bool:
        return self._files.exists(model_data)

    @translated
    def input_example(self, model_data: str) -> bytes | None:
        from botocore.exceptions import ClientError

        bucket, key = split(model_data)
        try:
            body = self._aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
        except ClientError as error:
            if code_of(error) not in ABSENT:
                raise
            raise ConfigError(
                f"the model's files are gone: there is no {model_data}",
                fix="Restore the object, or deploy another version.",
            ) from error
        try:
            return _example(body)
        except tarfile.TarError as error:
            raise ConfigError(f"{model_data} is no tar.gz: {error}") from error

    @translated
    def make(self, name: str, package: str, tags: Mapping[str, str]) -> None:
        settings, rows = self._settings, _rows({**self._settings.tags, **tags})
        self._create(
            self._client.create_model,
            ModelName=name,
            Containers=[{"ModelPackageName": package}],
            ExecutionRoleArn=settings.serving.role or settings.role,
            Tags=rows,
        )
        variant = {
            "VariantName": VARIANT,
            "ModelName": name,
            "InstanceType": settings.serving.instance.type,
            "InitialInstanceCount": settings.serving.instance.count,
            "InitialVariantWeight": 1.0,
        }
        self._create(
            self._client.create_endpoint_config,
            EndpointConfigName=name,
            ProductionVariants=[variant],
            Tags=rows,
            **({"KmsKeyId": settings.kms_key} if settings.kms_key else {}),
        )

    @translated
    def create(self, name: str, config: str, tags: Mapping[str, str]) -> None:
        self._create(
            self._client.create_endpoint,
            EndpointName=name,
            EndpointConfigName=config,
            Tags=_rows({**self._settings.tags, **tags}),
        )

    @translated
    def update(self, name: str, config: str) -> None:
        from botocore.exceptions import ClientError

        wanted = {"EndpointName": name, "EndpointConfigName": config}
        try:
            self._client.update_endpoint(**wanted, DeploymentConfig=DEPLOYMENT)
        except ClientError as error:
            if "in-progress" not in message_of(error):
                raise
            raise OutsideError(
                f"somebody else is changing the endpoint {name}", fix="Run it again: it waits."
            ) from error

    @translated
    def tag(self, endpoint: Endpoint, tags: Mapping[str, str]) -> None:
        rows = _rows({**self._settings.tags, **tags})
        self._client.add_tags(ResourceArn=endpoint.arn, Tags=rows)

    @translated
    def delete(self, name: str) -> None:
        self._there(self._client.delete_endpoint, EndpointName=name)

    @translated
    def invoke(self, name: str, body: bytes) -> bytes:
        from botocore.exceptions import ClientError

        runtime = self._aws.client("sagemaker-runtime")
        request = {"EndpointName": name, "ContentType": JSON, "Accept": JSON, "Body": body}
        try:
            answer: bytes = runtime.invoke_endpoint(**request)["Body"].read()
        except ClientError as error:
            if code_of(error) != "ModelError":
                raise
            raise OutsideError(message_of(error)) from error
        return answer

    @translated
    def parts(self, pipeline: str, name: str) -> list[Part]:
        wanted = {PIPELINE: pipeline, OF_ENDPOINT: name}
        return [
            Part(kind, row[f"{member}Name"])
            for kind, operation, member in (
                ("endpoint config", "list_endpoint_configs", "EndpointConfig"),
                ("model", "list_models", "Model"),
            )
            for row in self._listed(operation, f"{member}s", NameContains=f"{pipeline}-")
            if is_release_of(row[f"{member}Name"], pipeline, name)
            and wanted.items() <= self._tags(row[f"{member}Arn"]).items()
        ]

    @translated
    def used_beside(self, name: str) -> set[Part]:
        used = set()
        for row in self._listed("list_endpoints", "Endpoints"):
            found = self._described(row["EndpointName"])
            if found is None or found["EndpointName"] == name:
                continue
            used.add(Part("endpoint config", found.get("EndpointConfigName", "")))
            config = self.config(found.get("EndpointConfigName", ""))
            used |= {Part("model", model.name) for model in config.models} if config else set()
        return used

    @translated
    def discard(self, part: Part) -> None:
        if part.kind == "model":
            self._there(self._client.delete_model, ModelName=part.name)
        else:
            self._there(self._client.delete_endpoint_config, EndpointConfigName=part.name)

    # --- parts -------------------------------------------------------------------------------

    def _described(self, name: str) -> Request | None:
        return self._there(self._client.describe_endpoint, EndpointName=name)

    def _there(self, call: Callable[..., Request], **request: Any) -> Request | None:
        """Return what SageMaker answers, None when it has no such thing."""
        from botocore.exceptions import ClientError

        try:
            return call(**request)
        except ClientError as error:
            absent = any(words in message_of(error).lower() for words in NONE)
            if code_of(error) in ("ValidationException", "ResourceNotFound") and absent:
                return None
            raise

    def _create(self, call: Callable[..., Request], **request: Any) -> None:
        """Make what has a name of its own content; who comes second finds it made."""
        from botocore.exceptions import ClientError

        try:
            call(**request)
        except ClientError as error:
            if "already existing" not in message_of(error):
                raise

    def _model(self, name: str) -> ServedModel:
        found = self._there(self._client.describe_model, ModelName=name) if name else None
        if found is None:
            return ServedModel(name, None)
        containers = found.get("Containers") or [found.get("PrimaryContainer", {})]
        return ServedModel(name, tuple(one.get("ModelPackageName") for one in containers))

    def _tags(self, arn: str) -> dict[str, str]:
        rows = self._listed("list_tags", "Tags", ResourceArn=arn)
        return {row["Key"]: row["Value"] for row in rows}

    def _listed(self, operation: str, member: str, **request: Any) -> Iterator[Any]:
        for page in self._client.get_paginator(operation).paginate(**request):
            yield from page[member]


def _endpoint(found: Request, tags: dict[str, str]) -> Endpoint:
    return Endpoint(
        name=found["EndpointName"],
        arn=found["EndpointArn"],
        status=found["EndpointStatus"],
        config=found.get("EndpointConfigName", ""),
        reason=found.get("FailureReason", ""),
        tags=tags,
    )


def _rows(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _example(body: Any) -> bytes | None:
    """Return the example that lies highest in the archive, read no farther than it must be."""
    depth, content = float("inf"), None
    with tarfile.open(fileobj=body, mode="r|gz") as archive:
        for member in archive:
            folders = member.name.removeprefix("./").split("/")
            if folders[-1] != EXAMPLE or len(folders) >= depth:
                continue
            file = archive.extractfile(member)
            depth, content = len(folders), file.read() if file else None
            if depth == 1:
                break
    return content
