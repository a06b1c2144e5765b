"""One training job from Starting to its end, see
https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training-status.html
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from tests.stand import container, transfer
from tests.stand.api import Record, now
from tests.stand.container import Cluster, Host, Outcome
from tests.stand.folder_sync import FolderSync
from tests.stand.image import Image
from tests.stand.jobs import ENDED, FAILURE_LENGTH, JobFailed, JobThread
from tests.stand.world import World

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
CHECKPOINTS = "/opt/ml/checkpoints"
SPOT_PRICE = 0.3  # share of the time that is billed: a saving of 70%
STOPPED = {  # event → last secondary status and its message
    "stop": ("Stopped", "Training job stopped"),
    "runtime": ("MaxRuntimeExceeded", "Training job runtime exceeded MaxRuntimeInSeconds provided"),
    "wait": (
        "MaxWaitTimeExceeded",
        "Training job wait time exceeded MaxWaitTimeInSeconds provided",
    ),
}


class TrainingRun(JobThread):
    """The thread that takes a job through its states."""

    def __init__(self, world: World, image: Image, record: Record) -> None:
        count = record["ResourceConfig"]["InstanceCount"]
        super().__init__(world, image, record, "training", count)
        self._checkpoints: list[FolderSync] = []
        if config := record.get("CheckpointConfig"):
            path = config.get("LocalPath", CHECKPOINTS)
            self._checkpoints.append(FolderSync(self.s3, config["S3Uri"], path))
        self._trained = 0.0  # seconds on instances, over all attempts
        limits = record["StoppingCondition"]
        self._runtime = limits["MaxRuntimeInSeconds"]
        self._waited_too_long = self.deadline(limits.get("MaxWaitTimeInSeconds"))
        self._enter("Starting", "Starting the training job")

    def run(self) -> None:
        retries = self.record.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
        while True:
            try:
                outcome = self._attempt()
            except JobFailed as error:
                if not str(error).startswith("InternalServerError") or retries < 1:
                    raise
                retries -= 1
                self._enter("Restarting", "Restarting the training job")
                continue
            if outcome.event != "interrupt":
                break
            self._enter("Interrupted", "Spot capacity was interrupted, waiting for new instances")
            self._enter("Starting", "Launching requested ML instances")
        self._finish(outcome)

    def _attempt(self) -> Outcome:
        """On one set of instances, until they end or are taken away."""
        self.wait_for_instances()
        if event := self._event(0.0):
            self._enter_stopping(event)
            return Outcome(event)
        self._enter("Starting", "Preparing the instances for training")
        self._enter("Downloading", "Downloading input data")
        if "TrainingStartTime" not in self.record:
            self.update(TrainingStartTime=now())
        began = time.monotonic()
        try:
            self._download()
            self._enter("Training", "Training image download completed. Training in progress.")
            return self._train(began)
        finally:
            self._trained += time.monotonic() - began

    def _download(self) -> None:
        try:
            for index, host in enumerate(self.cluster.hosts):
                host.prepare(self.image)
                _lay_out(host, self.cluster, self.record)
                for channel in self.record.get("InputDataConfig", []):
                    self._download_channel(channel, host, index)
                for folder in self._checkpoints:
                    folder.restore(host)
        except Exception as error:
            why = transfer.reason(error)
            raise JobFailed(f"ClientError: Data download failed:{why}") from error

    def _download_channel(self, channel: Record, host: Host, index: int) -> None:
        source = channel["DataSource"]["S3DataSource"]
        sharded = source.get("S3DataDistributionType") == "ShardedByS3Key"
        folder = host.base / "input" / "data" / channel["ChannelName"]
        self.download(source["S3Uri"], folder, index if sharded else None)

    def _train(self, began: float) -> Outcome:
        # An interruption asked for while the job was starting hits it now.
        self._start_containers()
        outcome = self.cluster.wait(
            lambda: self._event(time.monotonic() - began),
            self._save_checkpoints,
        )
        if outcome.event:
            if outcome.event != "interrupt":
                self._enter_stopping(outcome.event)
            self.cluster.stop(self.world.settings.grace_seconds)
        else:
            self.cluster.kill()
        self._save_checkpoints(final=True)
        if outcome.event == "interrupt":
            self.interrupted.clear()
        return outcome

    def _save_checkpoints(self, final: bool = False) -> None:
        for folder in self._checkpoints:
            folder.save(self.cluster.hosts, final)

    def _event(self, seconds: float) -> str:
        """What ends the containers from outside."""
        if self.stopping.is_set():
            return "stop"
        if self._waited_too_long():
            return "wait"
        if self._trained + seconds > self._runtime:
            return "runtime"
        return "interrupt" if seconds and self.interrupted.is_set() else ""

    def _start_containers(self) -> None:
        algorithm = self.record["AlgorithmSpecification"]
        command = [
            *algorithm.get("ContainerEntrypoint", ["train"]),
            *algorithm.get("ContainerArguments", []),
        ]
        moment = int(time.time())
        for host in self.cluster.hosts:
            stream = self.open_log(LOG_GROUP, f"{host.name}-{moment}")
            host.start(self.image, "code", command, self._environment(host), stream)

    def _environment(self, host: Host) -> dict[str, str]:
        image = self.record["AlgorithmSpecification"].get("TrainingImage", "")
        own = dict(self.record.get("Environment", {}))
        if "pytorch" in image:
            own.setdefault("SAGEMAKER_TRAINING_MODULE", "stand_framework:main")
        arn = self.record["TrainingJobArn"]
        own |= {"TRAINING_JOB_NAME": self.name, "TRAINING_JOB_ARN": arn}
        role = self.record["RoleArn"]
        return container.environment(self.world, self.cluster, role, self.name, own) | {
            "SAGEMAKER_BASE_DIR": str(host.base)
        }

    def _finish(self, outcome: Outcome) -> None:
        if outcome.event:
            if any(host.base.exists() for host in self.cluster.hosts):
                self._upload(self.cluster.hosts)
            self._end("Stopped", *STOPPED[outcome.event])
        elif outcome.code:
            host = self.cluster.hosts[outcome.host]
            self._upload_data(self.cluster.hosts)
            raise JobFailed(_algorithm_error(host, outcome.code))
        else:
            self._enter("Uploading", "Uploading generated training model")
            self._upload(self.cluster.hosts)
            self._end("Completed", "Completed", "Training job completed")

    def fail(self, why: str) -> None:
        self.cluster.kill()
        self.update(FailureReason=why)
        self._end("Failed", "Failed", "Training job failed")

    def request_stop(self) -> None:
        """StopTrainingJob: the status is Stopping at once."""
        with self.world.lock:
            if self.record["TrainingJobStatus"] not in ENDED:
                self.record["TrainingJobStatus"] = "Stopping"
        self.stopping.set()

    def _enter_stopping(self, event: str) -> None:
        self._enter("Stopping", "Stopping the training job")
        self.update(TrainingJobStatus="Stopping")

    def _enter(self, status: str, message: str) -> None:
        """A new entry in the history, or another message within the same status."""
        moment = now()
        with self.world.lock:
            history: list[Record] = self.record["SecondaryStatusTransitions"]
            if history and history[-1]["Status"] == status and "EndTime" not in history[-1]:
                history[-1]["StatusMessage"] = message
            else:
                if history:
                    history[-1].setdefault("EndTime", moment)
                history.append({"Status": status, "StartTime": moment, "StatusMessage": message})
            self.record.update(SecondaryStatus=status, LastModifiedTime=moment)

    def _end(self, status: str, secondary: str, message: str) -> None:
        self._enter(secondary, message)
        moment = now()
        with self.world.lock:
            self.record["SecondaryStatusTransitions"][-1]["EndTime"] = moment
            members: dict[str, Any] = {"TrainingEndTime": moment, "TrainingJobStatus": status}
            if self.record["ResourceConfig"].get("KeepAlivePeriodInSeconds"):
                members["WarmPoolStatus"] = {"Status": "Available"}
            if "TrainingStartTime" in self.record:
                seconds = max(1, math.ceil(self._trained))
                spot = self.record["EnableManagedSpotTraining"]
                members["TrainingTimeInSeconds"] = seconds
                members["BillableTimeInSeconds"] = (
                    max(1, round(seconds * SPOT_PRICE)) if spot else seconds
                )
            self.record.update(members, LastModifiedTime=moment)

    def _upload(self, hosts: list[Host]) -> None:
        """Model and output of all hosts, each in one archive, see
        https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-output.html
        """
        config = self.record["OutputDataConfig"]
        target = self._output_uri()
        models = [host.base / "model" for host in hosts]
        try:
            if config.get("CompressionType") == "NONE":
                uri = f"{target}/model/"
                for folder in models:
                    transfer.upload_folder(self.s3, folder, uri)
            else:
                uri = f"{target}/model.tar.gz"
                transfer.upload_archive(self.s3, models, uri, self.folder / "model.tar.gz")
        except Exception as error:
            raise JobFailed(
                f"ClientError: Artifact upload failed:{transfer.reason(error)}"
            ) from error
        self._upload_data(hosts)
        self.update(ModelArtifacts={"S3ModelArtifacts": uri})

    def _upload_data(self, hosts: list[Host]) -> None:
        """`output/data` is kept also when the training failed."""
        folders = [host.base / "output" / "data" for host in hosts]
        folders = [folder for folder in folders if folder.is_dir()]
        if any(transfer.files_in(folder) for folder in folders):
            uri = f"{self._output_uri()}/output.tar.gz"
            transfer.upload_archive(self.s3, folders, uri, self.folder / "output.tar.gz")

    def _output_uri(self) -> str:
        path = self.record["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        return f"{path}/{self.name}/output"


def _algorithm_error(host: Host, code: int) -> str:
    """What the container wrote to its failure file, cut to what a FailureReason can hold."""
    file: Path = host.base / "output" / "failure"
    text = file.read_text(errors="replace") if file.exists() else ""
    end = f", exit code: {code}"
    return f"AlgorithmError: {text}"[: FAILURE_LENGTH - len(end)] + end


def _lay_out(host: Host, cluster: Cluster, record: Record) -> None:
    """The folders and files that SageMaker puts under /opt/ml before it starts a container."""
    for part in ("input/config", "input/data", "model", "output/data"):
        (host.base / part).mkdir(parents=True)
    names = [other.name for other in cluster.hosts]
    kind = record["ResourceConfig"]["InstanceType"]
    group = {"instance_group_name": "homogeneousCluster", "instance_type": kind, "hosts": names}
    files: dict[str, Any] = {
        "hyperparameters": record.get("HyperParameters", {}),
        "inputdataconfig": {
            channel["ChannelName"]: _channel_config(channel)
            for channel in record.get("InputDataConfig", [])
        },
        "resourceconfig": {
            "current_host": host.name,
            "current_instance_type": kind,
            "current_group_name": "homogeneousCluster",
            "hosts": names,
            "instance_groups": [group],
            "network_interface_name": "lo",
        },
        "upstreamoutputdataconfig": [],
        "init-config": {},
    }
    for name, content in files.items():
        (host.base / "input" / "config" / f"{name}.json").write_text(json.dumps(content))


def _channel_config(channel: Record) -> dict[str, str]:
    source = channel["DataSource"]["S3DataSource"]
    config = {
        "TrainingInputMode": channel.get("InputMode", "File"),
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    if "ContentType" in channel:
        config["ContentType"] = channel["ContentType"]
    return config
