"""Jobs on Amazon SageMaker: the same bundle and the same code as on this machine.

Names are chosen here, from fingerprints, because CreateTrainingJob has no idempotency token: the
SDK's ModelTrainer picks its own. The SDK finds the URIs of AWS's framework images.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clew.adapters import sagemaker_requests as requests
from clew.adapters.aws import code_of, message_of, translated
from clew.adapters.job_code import CONTAINER_FIELDS, code_archive, job_requirements
from clew.adapters.pace import Pace, PacedAws
from clew.adapters.s3_files import S3Files
from clew.adapters.sagemaker_logs import LogTail, last_line
from clew.adapters.sagemaker_usage import PAGE, SageMakerUsage, instances_of, seconds_of
from clew.config.model import FrameworkImage, SageMaker
from clew.errors import ConfigError, Detached, Unverifiable
from clew.ports import Executor, Job, JobExists, JobSpec, JobStatus, RemoteConfig
from clew.prices import cost, price_of

FIRST_POLL, LAST_POLL = 1.0, 20.0  # seconds; a long job is asked about less often
REMOTE_OPTIONS = (  # what a job may know of the DVC remote: never keys, it has its role
    *("endpointurl", "region", "sse", "sse_kms_key_id", "acl", "ssl_verify", "jobs"),
    *("read_timeout", "connect_timeout", "max_concurrent_requests", "version_aware"),
)
STATUS = dict.fromkeys(("Stopping", "Deleting"), JobStatus.IN_PROGRESS)
ABSENT = ("not found", "could not find", "does not exist")
ALGORITHM = "AlgorithmError"  # SageMaker's word for what the job's own code did
NO_CAPACITY = "CapacityError"
REASON_CHARACTERS = 1024  # SageMaker's limit
LOGS = {"Training": "/aws/sagemaker/TrainingJobs", "Processing": "/aws/sagemaker/ProcessingJobs"}


class SageMakerExecutor(Executor):
    """Runs `process` as processing jobs and everything else as training jobs."""

    name = "sagemaker"

    def __init__(
        self,
        settings: SageMaker,
        state: Path,
        stops_on_interrupt: Callable[[str], bool],
        pace: Pace,
    ) -> None:
        self._settings = settings
        self._folder = state / "jobs"  # results are kept here
        self._stops_on_interrupt = stops_on_interrupt
        self._aws = PacedAws(settings.region, pace)
        self.usage = SageMakerUsage(self._aws, settings.prices, state / "usage")
        self._files = S3Files(self._aws, settings.kms_key)

    @property
    def _client(self) -> Any:
        return self._aws.client("sagemaker")

    @translated
    def submit(self, spec: JobSpec) -> None:
        from botocore.exceptions import ClientError

        kind = kind_of(spec.name)
        places = self._places(spec, self._code(spec))
        make = requests.training if kind == "Training" else requests.processing
        request = make(spec, self._settings, self._image(), places)
        document = {name: asdict(spec)[name] for name in CONTAINER_FIELDS}
        document |= {"bundle": "bundle.tar", "remote": remote_for_job(spec.remote)}
        document |= {"secrets": dict(self._settings.secrets)}
        self._files.write(places.specification, json.dumps(document).encode())
        create = getattr(self._client, f"create_{kind.lower()}_job")
        try:
            create(**request)
        except ClientError as error:
            if code_of(error) == "ResourceInUse":
                raise JobExists(spec.name) from error
            raise

    @translated
    def find(self, name: str) -> Job | None:
        found = self._describe(name)
        return None if found is None else self._job(name, found)

    @translated
    def wait(self, name: str, on_line: Callable[[str], None]) -> Job:
        try:
            return self._follow(name, on_line)
        except KeyboardInterrupt:
            if not self._stops_on_interrupt(name):
                raise Detached(name, interrupted=True) from None
            self.stop(name)
            raise

    @translated
    def follow(self, names: Sequence[str], on_line: Callable[[str], None]) -> list[Job]:
        if len(names) == 1:
            return [self._follow(names[0], on_line)]
        open_jobs, said, pause = set(names), dict.fromkeys(names, ""), FIRST_POLL
        while True:
            for name, (status, shown) in self._states(open_jobs).items():
                if shown != said[name]:
                    on_line(f"{name}: {shown}")
                    said[name] = shown
                if status is not JobStatus.IN_PROGRESS:
                    open_jobs.discard(name)
            if not open_jobs:
                return [self._known(name) for name in names]
            pause = _rest(pause)

    @translated
    def stop(self, name: str) -> None:
        from botocore.exceptions import ClientError

        kind = kind_of(name)
        stop = getattr(self._client, f"stop_{kind.lower()}_job")
        try:
            stop(**{f"{kind}JobName": name})
        except ClientError as error:
            if code_of(error) not in ("ValidationException", "ResourceNotFound"):
                raise
            return  # there is none, or it has ended
        self._follow(name, lambda _line: None)

    @translated
    def model(self, name: str) -> Path:
        target = self._folder / name / "model"
        if not target.exists():
            self._files.unpack(f"{self._output(name)}/model.tar.gz", target)
        return target

    # --- parts -------------------------------------------------------------------------------

    def _follow(self, name: str, on_line: Callable[[str], None]) -> Job:
        tail = LogTail(self._aws, LOGS[kind_of(name)], name, on_line)
        pause, said = FIRST_POLL, ""
        while True:
            found = self._describe(name)
            if found is None:
                raise _gone(name)
            tail.read()  # before its status, which may be its last
            secondary = found.get("SecondaryStatus") or found[f"{kind_of(name)}JobStatus"]
            if secondary != said:
                on_line(f"SageMaker: {secondary}")
                said = secondary
            job = self._job(name, found)
            if job.status is not JobStatus.IN_PROGRESS:
                return job
            pause = _rest(pause)

    def _states(self, names: Iterable[str]) -> dict[str, tuple[JobStatus, str]]:
        """Return status and SageMaker's own word for it of many jobs, by one List for each kind."""
        states = {}
        for kind in LOGS:
            left = {name for name in names if kind_of(name) == kind}
            for row in self._rows(kind, left) if left else ():
                name, said = row[f"{kind}JobName"], row[f"{kind}JobStatus"]
                if name in left:
                    left.discard(name)
                    states[name] = _status(said), row.get("SecondaryStatus") or said
                if not left:
                    break
            for name in left:  # a list may lag behind
                job = self._known(name)
                states[name] = job.status, job.status.value
        return states

    def _rows(self, kind: str, names: Iterable[str]) -> Iterator[Mapping[str, Any]]:
        """Yield what List says of jobs, the newest first."""
        beginnings = {name.rsplit("-", 2)[0] for name in names}  # pipeline and step
        wanted = {"NameContains": beginnings.pop()} if len(beginnings) == 1 else {}
        pages = self._client.get_paginator(f"list_{kind.lower()}_jobs").paginate(
            SortBy="CreationTime",
            SortOrder="Descending",
            PaginationConfig={"PageSize": PAGE},
            **wanted,
        )
        return itertools.chain.from_iterable(page[f"{kind}JobSummaries"] for page in pages)

    def _known(self, name: str) -> Job:
        found = self._describe(name)
        if found is None:
            raise _gone(name)
        return self._job(name, found)

    def _describe(self, name: str) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        kind = kind_of(name)
        describe = getattr(self._client, f"describe_{kind.lower()}_job")
        try:
            found: dict[str, Any] = describe(**{f"{kind}JobName": name})
        except ClientError as error:
            absent = any(words in message_of(error).lower() for words in ABSENT)
            if code_of(error) in ("ValidationException", "ResourceNotFound") and absent:
                return None
            raise
        return found

    def _job(self, name: str, found: Mapping[str, Any]) -> Job:
        kind = kind_of(name)
        status = _status(found[f"{kind}JobStatus"])
        output = None
        if status in (JobStatus.COMPLETED, JobStatus.FAILED):
            output = self._results(name, kind)
        result = _result(output)
        resources, seconds = instances_of(kind, found), seconds_of(kind, found)
        billable = found.get("BillableTimeInSeconds", seconds)
        price = price_of(resources["InstanceType"], self._settings.prices)
        return Job(
            name=name,
            status=status,
            environment=found.get("Environment", {}),
            reason=self._reason(name, status, found, result),
            seconds=seconds,
            output=output if status is JobStatus.COMPLETED else None,
            pushed=result.get("pushed", 0),
            reused=result.get("reused", 0),
            arn=found[f"{kind}JobArn"],
            billable_seconds=billable,
            spot=found.get("EnableManagedSpotTraining", False),
            cost_usd=cost(price, billable, resources["InstanceCount"]),
            no_capacity=found.get("FailureReason", "").startswith(NO_CAPACITY),
        )

    def _reason(
        self, name: str, status: JobStatus, found: Mapping[str, Any], result: Mapping[str, Any]
    ) -> str:
        """Return why a job ended without a result: its own words before SageMaker's."""
        if status is JobStatus.STOPPED:
            return _limit(found) or "stopped on request"
        if status is not JobStatus.FAILED:
            return ""
        own = result.get("failure") or found.get("ExitMessage")
        words = f"{ALGORITHM}: {own}" if own else str(found.get("FailureReason", ""))
        last = last_line(self._aws, LOGS[kind_of(name)], name) if ALGORITHM in words else ""
        room = REASON_CHARACTERS - len(last) - 3
        return f"{words[:room]} | {last}" if last else words

    def _results(self, name: str, kind: str) -> Path:
        """Return the folder with the collected files, in the layout of a training container."""
        folder = self._folder / name
        target = folder / "output/data"
        if not target.exists():
            if kind == "Training":
                self._files.unpack(f"{self._output(name)}/output.tar.gz", target)
            else:
                self._files.download_folder(self._output(name), target)
        return folder

    def _code(self, spec: JobSpec) -> str:
        """Upload what a job runs, once for each content; return its URI."""
        # An image of one's own holds DVC; AWS's framework images don't.
        whole = isinstance(self._settings.image, str)
        archive, sha256 = code_archive(spec.bundle, "" if whole else job_requirements())
        uri = f"{self._settings.s3_prefix}/code/{sha256}.tar.gz"
        if not self._files.exists(uri):
            self._files.write(uri, archive)
        return uri

    def _image(self) -> str:
        image = self._settings.image
        if isinstance(image, str):
            return image
        return framework_image(image, self._settings)

    def _places(self, spec: JobSpec, code: str) -> requests.Places:
        prefix = self._settings.s3_prefix
        return requests.Places(
            code=code,
            specification=f"{prefix}/jobs/{spec.name}/job.json",
            output=f"{prefix}/jobs",
            checkpoints=f"{prefix}/checkpoints/{spec.checkpoints or spec.name}",
        )

    def _output(self, name: str) -> str:
        return f"{self._settings.s3_prefix}/jobs/{name}/output"


def kind_of(name: str) -> str:
    """Return SageMaker's kind of a job, from the step in its name."""
    return "Processing" if name.rsplit("-", 3)[1:2] == ["process"] else "Training"


def remote_for_job(remote: RemoteConfig) -> dict[str, Any]:
    """Return a DVC remote without credentials; ConfigError where a job can't reach it."""
    if not remote.url.startswith("s3://"):
        raise ConfigError(
            f"a SageMaker job can't reach the DVC remote '{remote.name}' ({remote.shown_url})",
            fix="Use a remote in S3: `dvc remote add -d NAME s3://BUCKET/PREFIX`.",
        )
    options = {key: remote.options[key] for key in REMOTE_OPTIONS if key in remote.options}
    return {"name": remote.name, "url": remote.url, "options": options}


def framework_image(image: FrameworkImage, settings: SageMaker) -> str:
    """Return the URI of AWS's own image for a framework, by the SageMaker SDK."""
    from sagemaker.core import image_uris

    wanted = {
        "framework": image.framework,
        "version": image.version,
        "region": settings.region,
        "instance_type": settings.instance.type,
        "image_scope": "training",
    }
    try:
        try:
            uri: str = image_uris.retrieve(**wanted)
        except ValueError:  # it has several for this version: ask for one
            uri = image_uris.retrieve(**wanted, py_version="py3")
    except ValueError as error:
        raise ConfigError(
            f"AWS has no image for {image.framework} {image.version} on {settings.instance.type}: "
            f"{error}",
            fix="Correct executor.sagemaker.image, or name an image by its digest.",
        ) from error
    return uri


def _result(folder: Path | None) -> dict[str, Any]:
    file = folder / "output/data/clew-result.json" if folder else None
    if folder is None or file is None or not file.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except ValueError as error:
        raise Unverifiable(
            f"the results of {folder.name} are not what a job leaves: {file.name} is no JSON",
            fix=f"Restore its version in S3 that the job uploaded, and delete {folder}.",
        ) from error
    return found


def _limit(found: Mapping[str, Any]) -> str:
    """Return which limit stopped a job, empty when none did."""
    secondary, limits = found.get("SecondaryStatus", ""), found.get("StoppingCondition", {})
    most = limits.get("MaxRuntimeInSeconds", float("inf"))
    if not secondary and seconds_of("Processing", found) >= most:
        secondary = "MaxRuntimeExceeded"  # processing jobs have no secondary status
    if not secondary.endswith("Exceeded"):
        return ""
    if secondary.startswith("MaxWait"):
        most = limits.get("MaxWaitTimeInSeconds")
    return f"{secondary}: the job took longer than its limit of {most} s"


def _status(said: str) -> JobStatus:
    return STATUS.get(said) or JobStatus(said)


def _gone(name: str) -> ConfigError:
    return ConfigError(f"SageMaker has no job {name} any more", fix="Run it again.")


def _rest(pause: float) -> float:
    """Sleep between two looks; return how long to sleep the next time."""
    time.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311  # only to spread calls
    return min(pause * 1.3, LAST_POLL)
