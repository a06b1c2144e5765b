"""One processing job from its start to its end, see
https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
"""

from __future__ import annotations

import json
import time

from tests.stand import container, transfer
from tests.stand.api import Record, now
from tests.stand.container import Host, Outcome
from tests.stand.folder_sync import FolderSync
from tests.stand.image import Image
from tests.stand.jobs import ENDED, FAILURE_LENGTH, JobFailed, JobThread
from tests.stand.world import World

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
DEFAULT_RUNTIME = 86_400  # seconds


class ProcessingRun(JobThread):
    """The thread that takes a job through its states."""

    def __init__(self, world: World, image: Image, record: Record) -> None:
        count = record["ProcessingResources"]["ClusterConfig"]["InstanceCount"]
        super().__init__(world, image, record, "processing", count)
        outputs = record.get("ProcessingOutputConfig", {}).get("Outputs", [])
        self._outputs = [output["S3Output"] for output in outputs]
        self._continuous = [
            FolderSync(self.s3, output["S3Uri"], output["LocalPath"])
            for output in self._outputs
            if output["S3UploadMode"] == "Continuous"
        ]

    def run(self) -> None:
        self.wait_for_instances()
        if self.stopping.is_set():
            self._end("Stopped")
            return
        self._download()
        self.update(ProcessingStartTime=now())
        outcome = self._process()
        self._save_outputs(final=True)
        self._read_message()
        if outcome.event:
            self._end("Stopped")
        elif outcome.code:
            # The failure file is a training job's; here the log has to tell.
            raise JobFailed(
                f"AlgorithmError: See job logs for more information, exit code: {outcome.code}"
            )
        else:
            self._upload()
            self._end("Completed")

    def _download(self) -> None:
        try:
            for index, host in enumerate(self.cluster.hosts):
                host.prepare(self.image)
                self._lay_out(host)
                for given in self.record.get("ProcessingInputs", []):
                    source = given["S3Input"]
                    sharded = source.get("S3DataDistributionType") == "ShardedByS3Key"
                    folder = host.local(source["LocalPath"])
                    self.download(source["S3Uri"], folder, index if sharded else None)
        except Exception as error:
            why = transfer.reason(error)
            raise JobFailed(f"ClientError: Failed to download data. {why}") from error

    def _lay_out(self, host: Host) -> None:
        for part in ("config", "output", "processing"):
            (host.base / part).mkdir(parents=True)
        for output in self._outputs:
            host.local(output["LocalPath"]).mkdir(parents=True, exist_ok=True)
        resources = {
            "current_host": host.name,
            "hosts": [other.name for other in self.cluster.hosts],
        }
        folder = host.base / "config"
        (folder / "resourceconfig.json").write_text(json.dumps(resources))
        (folder / "processingjobconfig.json").write_text(json.dumps(self.record))

    def _process(self) -> Outcome:
        application = self.record["AppSpecification"]
        command = [
            *application.get("ContainerEntrypoint", []),
            *application.get("ContainerArguments", []),
        ]
        if not command:
            raise JobFailed("ClientError: the stand's image has no entry point of its own")
        moment = int(time.time())
        own = self.record.get("Environment", {})
        role = self.record["RoleArn"]
        environment = container.environment(self.world, self.cluster, role, self.name, own)
        for host in self.cluster.hosts:
            stream = self.open_log(LOG_GROUP, f"{host.name}-{moment}")
            host.start(self.image, "processing", command, environment, stream)
        limits = self.record.get("StoppingCondition", {})
        too_long = self.deadline(limits.get("MaxRuntimeInSeconds", DEFAULT_RUNTIME))
        outcome = self.cluster.wait(
            lambda: "stop" if self.stopping.is_set() else "runtime" if too_long() else "",
            self._save_outputs,
        )
        if outcome.event:
            self.update(ProcessingJobStatus="Stopping")
            self.cluster.stop(self.world.settings.grace_seconds)
        else:
            self.cluster.kill()
        return outcome

    def _save_outputs(self, final: bool = False) -> None:
        for folder in self._continuous:
            folder.save(self.cluster.hosts, final)

    def _upload(self) -> None:
        try:
            for output in self._outputs:
                if output["S3UploadMode"] == "EndOfJob":
                    for host in self.cluster.hosts:
                        folder = host.local(output["LocalPath"])
                        transfer.upload_folder(self.s3, folder, output["S3Uri"])
        except Exception as error:
            why = transfer.reason(error)
            raise JobFailed(f"ClientError: Failed to upload data. {why}") from error

    def _read_message(self) -> None:
        """What the container left in /opt/ml/output/message is shown with the job."""
        file = self.cluster.hosts[0].base / "output" / "message"
        if file.exists():
            self.update(ExitMessage=file.read_text(errors="replace")[:FAILURE_LENGTH])

    def fail(self, why: str) -> None:
        self.cluster.kill()
        self.update(FailureReason=why[:FAILURE_LENGTH])
        self._end("Failed")

    def request_stop(self) -> None:
        """StopProcessingJob: the status is Stopping at once."""
        with self.world.lock:
            if self.record["ProcessingJobStatus"] not in ENDED:
                self.record["ProcessingJobStatus"] = "Stopping"
        self.stopping.set()

    def _end(self, status: str) -> None:
        self.update(ProcessingJobStatus=status, ProcessingEndTime=now())
