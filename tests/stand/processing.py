"""The processing job operations, see
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateProcessingJob.html
"""

from __future__ import annotations

from collections.abc import Callable

from tests.stand import jobs
from tests.stand.api import Listing, Record, answer_shape, now, operation, project
from tests.stand.errors import in_use, validation
from tests.stand.image import Image
from tests.stand.processing_run import ProcessingRun
from tests.stand.world import World

ROOT = "/opt/ml/processing"
LIST = Listing(
    result="ProcessingJobSummaries",
    summary="ProcessingJobSummary",
    name="ProcessingJobName",
    status="ProcessingJobStatus",
)


class Processing:
    """Jobs by name; finished ones stay for ever, as on AWS."""

    def __init__(self, world: World, image: Image, made: Callable[[Record], None]) -> None:
        self._world = world
        self._image = image
        self._made = made
        self.records: dict[str, Record] = {}
        self._runs: dict[str, ProcessingRun] = {}
        world.at_exit.append(self._stop_all)

    @operation("CreateProcessingJob")
    def create(self, request: Record) -> Record:
        name = request["ProcessingJobName"]
        arn = self._world.arn("processing-job", name)
        check(self._world, request)
        with self._world.lock:
            if name in self.records:
                raise in_use(
                    "Job name must be unique within an AWS account and region, and a job with "
                    f"this name already exists ({arn})"
                )
            moment = now()
            record = self.records[name] = {
                **request,
                "ProcessingJobArn": arn,
                "ProcessingJobStatus": "InProgress",
                "CreationTime": moment,
                "LastModifiedTime": moment,
            }
            self._world.tag(arn, request.get("Tags", []))
            self._made(record)
            self._runs[name] = ProcessingRun(self._world, self._image, record)
        self._runs[name].start()
        return {"ProcessingJobArn": arn}

    @operation("DescribeProcessingJob")
    def describe(self, request: Record) -> Record:
        return project(self._find(request), answer_shape("DescribeProcessingJob"))

    def _find(self, request: Record) -> Record:
        name = request["ProcessingJobName"]
        if name not in self.records:
            raise validation(f"Could not find requested job with name: {name}")
        return self.records[name]

    @operation("ListProcessingJobs")
    def list(self, request: Record) -> Record:
        return LIST(self.records.values(), request)

    @operation("StopProcessingJob")
    def stop(self, request: Record) -> Record:
        record = self._find(request)
        status = record["ProcessingJobStatus"]
        if status in jobs.ENDED:
            raise validation(
                f"The request was rejected because the processing job is in status {status}."
            )
        self._runs[request["ProcessingJobName"]].request_stop()
        return {}

    def _stop_all(self) -> None:
        for run in self._runs.values():
            run.abandon()


def check(world: World, request: Record) -> None:
    """What SageMaker refuses although each member by itself is well formed."""
    jobs.check_tags(request.get("Tags", []))
    jobs.check_role(world, request["RoleArn"])
    jobs.check_image(request["AppSpecification"]["ImageUri"])
    cluster = request["ProcessingResources"]["ClusterConfig"]
    if not {"InstanceType", "InstanceCount"} <= cluster.keys():
        raise validation("The stand needs ClusterConfig with InstanceType and InstanceCount.")
    inputs = request.get("ProcessingInputs", [])
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", [])
    for kind, things in (("Input", inputs), ("Output", outputs)):
        names = [thing[f"{kind}Name"] for thing in things]
        if len(set(names)) < len(names):
            raise validation(f"{kind} names must be unique within a processing job.")
        for thing in things:
            _check_place(kind, thing)
    for given in inputs:
        if given["S3Input"]["S3DataType"] != "S3Prefix":
            raise validation("The stand reads processing inputs with S3Prefix only.")
        jobs.check_objects(world, given["S3Input"]["S3Uri"], request["RoleArn"])


def _check_place(kind: str, thing: Record) -> None:
    place = thing.get(f"S3{kind}")
    if place is None:
        raise validation(f"The stand needs S3{kind} in {thing[f'{kind}Name']}.")
    path = place.get("LocalPath", "")
    if path != ROOT and not path.startswith(f"{ROOT}/"):
        raise validation(f"LocalPath {path!r} must start with {ROOT}")
