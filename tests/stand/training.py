"""The training job operations, see
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.stand import jobs
from tests.stand.api import Listing, Record, answer_shape, now, operation, project
from tests.stand.errors import in_use, validation
from tests.stand.image import Image
from tests.stand.training_run import TrainingRun
from tests.stand.world import World

DEFAULT_RUNTIME = 86_400  # seconds
LIST = Listing(
    result="TrainingJobSummaries",
    summary="TrainingJobSummary",
    name="TrainingJobName",
    status="TrainingJobStatus",
)


class Training:
    """Jobs by name; finished ones stay for ever, as on AWS."""

    def __init__(self, world: World, image: Image, made: Callable[[Record], None]) -> None:
        self._world = world
        self._image = image
        self._made = made  # told of every new job: lineage makes its trial component
        self.records: dict[str, Record] = {}
        self.runs: dict[str, TrainingRun] = {}
        world.at_exit.append(self.stop_all)

    @operation("CreateTrainingJob")
    def create(self, request: Record) -> Record:
        name = request["TrainingJobName"]
        arn = self._world.arn("training-job", name)
        check(self._world, request)
        with self._world.lock:
            if name in self.records:
                raise in_use(
                    "Training job names must be unique within an AWS account and region, and a "
                    f"training job with this name already exists ({arn})"
                )
            record = self.records[name] = _new_record(request, arn)
            self._world.tag(arn, request.get("Tags", []))
            self._made(record)
            self.runs[name] = TrainingRun(self._world, self._image, record)
        self.runs[name].start()
        return {"TrainingJobArn": arn}

    @operation("DescribeTrainingJob")
    def describe(self, request: Record) -> Record:
        return project(self._find(request), answer_shape("DescribeTrainingJob"))

    def _find(self, request: Record) -> Record:
        record = self.records.get(request["TrainingJobName"])
        if record is None:
            raise validation("Requested resource not found.")
        return record

    @operation("ListTrainingJobs")
    def list(self, request: Record) -> Record:
        return LIST(self.records.values(), request)

    @operation("StopTrainingJob")
    def stop(self, request: Record) -> Record:
        record = self._find(request)
        status = record["TrainingJobStatus"]
        if status in jobs.ENDED:
            raise validation(
                f"The request was rejected because the training job is in status {status}."
            )
        self.runs[request["TrainingJobName"]].request_stop()
        return {}

    def interrupt(self, name: str) -> bool:
        """Take the spot capacity of a running job away; False when it has none to lose."""
        run = self.runs.get(name)
        if run is None or run.record["TrainingJobStatus"] != "InProgress":
            return False
        if not run.record["EnableManagedSpotTraining"]:
            return False
        run.interrupted.set()
        return True

    def stop_all(self) -> None:
        for run in self.runs.values():
            run.abandon()


def _new_record(request: Record, arn: str) -> Record:
    moment = now()
    return {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        **request,
        "StoppingCondition": {"MaxRuntimeInSeconds": DEFAULT_RUNTIME}
        | request.get("StoppingCondition", {}),
        "TrainingJobArn": arn,
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        "SecondaryStatusTransitions": [],
        "ModelArtifacts": {"S3ModelArtifacts": ""},
        "CreationTime": moment,
        "LastModifiedTime": moment,
        "ProfilingStatus": "Disabled",
    }


def check(world: World, request: Record) -> None:
    """What SageMaker refuses although each member by itself is well formed."""
    algorithm = request.get("AlgorithmSpecification", {})
    if ("TrainingImage" in algorithm) == ("AlgorithmName" in algorithm):
        raise validation(
            "AlgorithmSpecification must have exactly one of TrainingImage and AlgorithmName."
        )
    _check_resources(request)
    jobs.check_tags(request.get("Tags", []))
    jobs.check_role(world, request["RoleArn"])
    if "TrainingImage" in algorithm:
        jobs.check_image(algorithm["TrainingImage"])
    names: list[str] = []
    for channel in request.get("InputDataConfig", []):
        names.append(channel["ChannelName"])
        _check_channel(world, channel, request["RoleArn"])
    if len(set(names)) < len(names):
        raise validation("Channel names must be unique within a training job.")


def _check_resources(request: Record) -> None:
    resources = request.get("ResourceConfig")
    if resources is None or "InstanceGroups" in resources:
        raise validation("The stand needs ResourceConfig with InstanceType and InstanceCount.")
    for member in ("InstanceType", "InstanceCount", "VolumeSizeInGB"):
        if member not in resources:
            raise validation(f"ResourceConfig.{member} is required.")
    if not request.get("EnableManagedSpotTraining"):
        return
    limits: dict[str, Any] = request.get("StoppingCondition", {})
    runtime = limits.get("MaxRuntimeInSeconds", DEFAULT_RUNTIME)
    if limits.get("MaxWaitTimeInSeconds", 0) < runtime:
        raise validation(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            "MaxRuntimeInSeconds"
        )
    if resources.get("KeepAlivePeriodInSeconds"):
        raise validation("KeepAlivePeriodInSeconds can't be used with managed spot training.")


def _check_channel(world: World, channel: Record, role_arn: str) -> None:
    source = channel["DataSource"].get("S3DataSource")
    if source is None or source["S3DataType"] != "S3Prefix":
        raise validation("The stand reads channels from S3DataSource with S3Prefix only.")
    if channel.get("InputMode", "File") == "Pipe":
        raise validation("The stand doesn't imitate InputMode Pipe.")
    jobs.check_objects(world, source["S3Uri"], role_arn)
