"""CreateTrainingJob and CreateProcessingJob requests, and what AWS would refuse in them.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateProcessingJob.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clew.adapters.job_code import PROGRAM
from clew.config.model import SageMaker
from clew.errors import ConfigError
from clew.ports import JobSpec

Request = dict[str, Any]
NAME_CHARACTERS = 63
ENTRIES = 100  # of Environment and of HyperParameters
TRAINING_VALUE = 512  # characters of a variable
PROCESSING_VALUE = 256
PROCESSING_SECONDS = 777_600  # nine days; training may take 28
HYPERPARAMETER_KEY, HYPERPARAMETER = 256, 2_500  # characters
TAGS = 50
VARIABLE = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")
TAG_VALUE = re.compile(r"[\w .:/=+@-]{0,256}")
# Machines with disks of their own, which AWS encrypts by hardware; with a key it refuses them.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ResourceConfig.html
LOCAL_DISKS = re.compile(r"ml\.(?:[a-z]+\d+[a-z]*d[a-z]*|g5|g6e?|gr6|p5(?:en?)?|p6\S*|trn\d+n?)\.")
CHECKPOINTS = "/opt/ml/checkpoints"
ENTRYPOINT = (  # at most 256 characters
    f"cd /opt/ml/processing/input/code && tar xzf *.tar.gz && exec python3 {PROGRAM}"
)


@dataclass(frozen=True)
class Places:
    """Where a job's parts are in S3."""

    code: str  # tar.gz: the source bundle and what runs it
    specification: str
    output: str  # the prefix of all jobs' results
    checkpoints: str


def training(spec: JobSpec, settings: SageMaker, image: str, places: Places) -> Request:
    """Return the request for a training job in script mode."""
    seconds = spec.max_seconds
    stopping = {"MaxRuntimeInSeconds": seconds}
    request: Request = {
        "TrainingJobName": spec.name,
        "RoleArn": settings.role,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "HyperParameters": _hyperparameters(spec, settings, places),
        "InputDataConfig": [{"ChannelName": "clew", "DataSource": _source(places.specification)}],
        "OutputDataConfig": {"S3OutputPath": places.output, **_key("KmsKeyId", settings)},
        "ResourceConfig": _instances(settings, "VolumeKmsKeyId", settings.instance.count),
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": settings.spot is not None,
        "EnableInterContainerTrafficEncryption": settings.instance.count > 1,
        "Environment": {**settings.environment, **spec.environment},
        "Tags": _tags(spec, settings),
    }
    if settings.retries:
        request["RetryStrategy"] = {"MaximumRetryAttempts": settings.retries}
    if settings.keep_alive_minutes:
        keep = int(settings.keep_alive_minutes * 60)
        request["ResourceConfig"]["KeepAlivePeriodInSeconds"] = keep
    if settings.spot:
        stopping["MaxWaitTimeInSeconds"] = max(seconds, int(settings.spot.max_wait_hours * 3600))
        request["CheckpointConfig"] = {"S3Uri": places.checkpoints, "LocalPath": CHECKPOINTS}
    if settings.network.subnets:
        request["VpcConfig"] = _vpc(settings)
    if settings.spot and settings.keep_alive_minutes:
        raise ConfigError(
            "executor.sagemaker: AWS keeps no spot instances warm for the next job",
            fix="Remove either spot or keep_alive_minutes.",
        )
    refuse(spec.name, request, settings, TRAINING_VALUE)
    return request


def processing(spec: JobSpec, settings: SageMaker, image: str, places: Places) -> Request:
    """Return the request for a processing job that runs the same code."""
    inputs = {"code": places.code, "clew": places.specification}
    network: Request = {"EnableNetworkIsolation": False}
    if settings.network.subnets:
        network["VpcConfig"] = _vpc(settings)
    request = {
        "ProcessingJobName": spec.name,
        "RoleArn": settings.processing_role or settings.role,
        "AppSpecification": {
            "ImageUri": image,
            "ContainerEntrypoint": ["/bin/bash", "-c", ENTRYPOINT],
        },
        "ProcessingInputs": [_input(name, uri) for name, uri in inputs.items()],
        "ProcessingOutputConfig": {
            "Outputs": [_output(f"{places.output}/{spec.name}/output")],
            **_key("KmsKeyId", settings),
        },
        "ProcessingResources": {"ClusterConfig": _instances(settings, "VolumeKmsKeyId", 1)},
        "StoppingCondition": {"MaxRuntimeInSeconds": min(spec.max_seconds, PROCESSING_SECONDS)},
        "NetworkConfig": network,
        # Training containers are told by AWS's toolkit; for both it is where everything is.
        "Environment": {
            **settings.environment,
            **spec.environment,
            "SAGEMAKER_BASE_DIR": "/opt/ml",
        },
        "Tags": _tags(spec, settings),
    }
    refuse(spec.name, request, settings, PROCESSING_VALUE)
    return request


def refuse(name: str, request: Request, settings: SageMaker, characters: int) -> None:
    """Raise ConfigError for what AWS would refuse, and name the offender."""
    if settings.network.isolation:
        raise ConfigError(
            "executor.sagemaker.network.isolation leaves a job no way to its data in S3",
            fix="Set it to false; subnets without a route to the internet keep it from there.",
        )
    if len(name) > NAME_CHARACTERS:
        raise ConfigError(
            f"the job name {name} has {len(name)} characters; SageMaker allows {NAME_CHARACTERS}",
            fix="Shorten `name` in pipeline.yaml.",
        )
    variables = request["Environment"]
    _fit(variables, "environment variable", characters, characters)
    if wrong := [key for key in variables if not VARIABLE.fullmatch(key)]:
        raise ConfigError(
            f"SageMaker takes no environment variable of the name {wrong[0]!r}",
            fix="Name it with letters, digits and underscores.",
        )
    _fit(request.get("HyperParameters", {}), "hyperparameter", HYPERPARAMETER_KEY, HYPERPARAMETER)
    _refuse_tags(request["Tags"])


def _refuse_tags(tags: list[dict[str, str]]) -> None:
    if len(tags) > TAGS:
        raise ConfigError(
            f"the job would have {len(tags)} tags; SageMaker allows {TAGS} tags",
            fix="Remove some of executor.sagemaker.tags.",
        )
    for tag in tags:
        if not TAG_VALUE.fullmatch(tag["Value"]):
            raise ConfigError(
                f"AWS takes no tag {tag['Key']} with the value {tag['Value']!r}",
                fix="Use up to 256 letters, digits, spaces and _.:/=+-@",
            )


def _fit(entries: Mapping[str, str], what: str, key_characters: int, characters: int) -> None:
    if len(entries) > ENTRIES:
        surplus = sorted(entries)[ENTRIES]
        raise ConfigError(
            f"there are {len(entries)} {what}s, from {surplus} on more than SageMaker's {ENTRIES}",
            fix="Let the train stages list fewer params in dvc.yaml.",
        )
    for name, value in entries.items():
        for part, most in (("name", key_characters), ("value", characters)):
            size = len(name if part == "name" else value)
            if size > most:
                raise ConfigError(
                    f"the {part} of the {what} {name} has {size} characters; "
                    f"SageMaker allows {most}",
                    fix="Shorten it, or read it from a file of the repository.",
                )


def _hyperparameters(spec: JobSpec, settings: SageMaker, places: Places) -> dict[str, str]:
    """Return the params and what AWS's training toolkit reads, JSON as the SDK writes it."""
    toolkit: dict[str, Any] = {
        "sagemaker_program": PROGRAM,
        "sagemaker_submit_directory": places.code,
        "sagemaker_region": settings.region,
        "sagemaker_job_name": spec.name,
        "sagemaker_container_log_level": 30,  # WARNING; else it prints all it knows
    }
    if settings.distribution == "torchrun":
        toolkit["sagemaker_torch_distributed_enabled"] = True
        toolkit["sagemaker_instance_type"] = settings.instance.type
    return {**spec.hyperparameters, **{key: json.dumps(value) for key, value in toolkit.items()}}


def _source(uri: str) -> Request:
    return {
        "S3DataSource": {
            "S3DataType": "S3Prefix",
            "S3Uri": uri,
            "S3DataDistributionType": "FullyReplicated",
        }
    }


def _input(name: str, uri: str) -> Request:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": f"/opt/ml/processing/input/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
        },
    }


def _output(uri: str) -> Request:
    place = {"S3Uri": uri, "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "EndOfJob"}
    return {"OutputName": "clew", "S3Output": place}


def _instances(settings: SageMaker, key: str, count: int) -> Request:
    kind = settings.instance.type
    return {
        "InstanceType": kind,
        "InstanceCount": count,
        "VolumeSizeInGB": settings.instance.volume_gb,
        **({} if has_own_disks(kind) else _key(key, settings)),
    }


def has_own_disks(instance_type: str) -> bool:
    """Tell whether AWS takes no key for the volume of such machines."""
    return LOCAL_DISKS.match(instance_type) is not None


def _vpc(settings: SageMaker) -> Request:
    network = settings.network
    groups = {"SecurityGroupIds": list(network.security_groups)}
    return {"Subnets": list(network.subnets), **groups}


def _key(name: str, settings: SageMaker) -> Request:
    return {name: settings.kms_key} if settings.kms_key else {}


def _tags(spec: JobSpec, settings: SageMaker) -> list[dict[str, str]]:
    tags = {**settings.tags, **spec.tags}
    return [{"Key": key, "Value": value} for key, value in tags.items()]
