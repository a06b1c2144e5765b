"""Model packages in SageMaker's model registry.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from clew.account import Image
from clew.adapters.aws import DENIED, code_of, message_of, translated
from clew.adapters.ecr import has_image
from clew.adapters.pace import Pace, PacedAws
from clew.adapters.s3_files import S3Files
from clew.config.model import SageMaker
from clew.errors import ConfigError, OutsideError, Unverifiable
from clew.identity import digest
from clew.packages import ModelPackage, ModelPackages, group_name

JSON, CSV = "application/json", "text/csv"
FINGERPRINT = "run_fingerprint"
TOKEN_CHARACTERS = 36


class SageMakerPackages(ModelPackages):
    """One model package group, in which each run fingerprint has one package."""

    def __init__(
        self, settings: SageMaker, pipeline: str, model: str, tracking_uri: str, pace: Pace
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._group = group_name(settings, model)
        self._tracking_uri = tracking_uri
        self._aws = PacedAws(settings.region, pace)
        self._files = S3Files(self._aws, settings.kms_key)

    @property
    def _client(self) -> Any:
        return self._aws.client("sagemaker")

    @property
    def image(self) -> str:
        return self._settings.serving.image or default_image(self._settings)

    @translated
    def check(self) -> None:
        image = Image.of(self.image)
        if image is None or self._may_be_there(image):
            return
        raise ConfigError(
            f"there is no image {self.image} to serve the model with",
            fix="Run `mlflow sagemaker build-and-push-container` once, or name another in "
            "executor.sagemaker.serving.image.",
        )

    def _may_be_there(self, image: Image) -> bool:
        from botocore.exceptions import ClientError

        try:
            return has_image(self._aws, image)
        except ClientError as error:
            if code_of(error) in DENIED:
                return True  # SageMaker itself says so when the package is made
            raise

    @translated
    def made_by_app(self) -> bool:
        if ":mlflow-app/" not in self._tracking_uri:
            return False
        app = self._client.describe_mlflow_app(Arn=self._tracking_uri)
        return bool(app.get("ModelRegistrationMode") == "AutoModelRegistrationEnabled")

    @translated
    def describe(self, arn: str) -> ModelPackage | None:
        from botocore.exceptions import ClientError

        try:
            found = self._client.describe_model_package(ModelPackageName=arn)
        except ClientError as error:
            if "does not exist" in message_of(error):
                return None
            raise
        return ModelPackage(
            arn=found["ModelPackageArn"],
            approval=found.get("ModelApprovalStatus", ""),
            properties=found.get("CustomerMetadataProperties", {}),
            serves="InferenceSpecification" in found,
        )

    @translated
    def create(self, job: str, properties: Mapping[str, str], approval: str) -> ModelPackage:
        self._ensure_group()
        trained = self._client.describe_training_job(TrainingJobName=job)
        fingerprint = properties[FINGERPRINT]
        found = self._find(fingerprint, trained["CreationTime"])
        if found is None:
            self._client.create_model_package(
                ModelPackageGroupName=self._group,
                ModelApprovalStatus=approval,
                InferenceSpecification=self._serving(trained),
                CustomerMetadataProperties=dict(properties),
                MetadataProperties={
                    "CommitId": properties["code_git_commit_id"],
                    "GeneratedBy": trained["TrainingJobArn"],
                },
                # Two runs that come this far at once end with one package.
                ClientToken=digest([self._group, fingerprint])[:TOKEN_CHARACTERS],
            )
            found = self._find(fingerprint, trained["CreationTime"])
        if found is None:
            raise OutsideError(
                f"SageMaker does not list the package that was just made in {self._group}",
                fix="Run it again in a while.",
            )
        return found

    @translated
    def update(
        self, package: ModelPackage, job: str, properties: Mapping[str, str], approval: str
    ) -> None:
        request: dict[str, Any] = {"CustomerMetadataProperties": dict(properties)}
        if approval != package.approval:
            request["ModelApprovalStatus"] = approval
        if not package.serves:
            trained = self._client.describe_training_job(TrainingJobName=job)
            request["InferenceSpecification"] = self._serving(trained)
        self._client.update_model_package(ModelPackageArn=package.arn, **request)

    # --- parts -------------------------------------------------------------------------------

    def _ensure_group(self) -> None:
        from botocore.exceptions import ClientError

        tags = {**self._settings.tags, "clew:pipeline": self._pipeline}
        try:
            self._client.create_model_package_group(
                ModelPackageGroupName=self._group,
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            )
        except ClientError as error:
            if "already exists" not in message_of(error):
                raise

    def _find(self, fingerprint: str, since: datetime) -> ModelPackage | None:
        """Return the oldest package of a fingerprint; none is older than its training job."""
        pages = self._client.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=self._group,
            CreationTimeAfter=since,
            SortBy="CreationTime",
            SortOrder="Ascending",
        )
        for page in pages:
            for row in page["ModelPackageSummaryList"]:
                package = self.describe(row["ModelPackageArn"])
                if package and package.properties.get(FINGERPRINT) == fingerprint:
                    return package
        return None

    def _serving(self, trained: Mapping[str, Any]) -> dict[str, Any]:
        """Return how a training job's model is served: by MLflow, in SageMaker's way.

        https://mlflow.org/docs/latest/ml/deployment/deploy-model-to-sagemaker
        """
        environment = {
            "MLFLOW_DEPLOYMENT_FLAVOR_NAME": "python_function",
            "SERVING_ENVIRONMENT": "SageMaker",
        }
        uri = trained["ModelArtifacts"]["S3ModelArtifacts"]
        etag = self._files.etag(uri)
        if etag is None:
            raise Unverifiable(
                f"the model's archive is not in S3 any more: {uri}",
                fix="Restore it from the bucket's versions, and run the same again.",
            )
        container = {
            "Image": self.image,
            "ModelDataUrl": uri,
            "ModelDataETag": etag,
            "Environment": environment,
        }
        return {
            "Containers": [container],
            "SupportedContentTypes": [JSON, CSV],
            "SupportedResponseMIMETypes": [JSON],
        }


def default_image(settings: SageMaker) -> str:
    """Return the image that `mlflow sagemaker build-and-push-container` makes, in our registry."""
    from importlib.metadata import version

    account = settings.role.split(":")[4]
    china = ".cn" if settings.region.startswith("cn-") else ""
    registry = f"{account}.dkr.ecr.{settings.region}.amazonaws.com{china}"
    return f"{registry}/mlflow-pyfunc:{version('mlflow')}"
