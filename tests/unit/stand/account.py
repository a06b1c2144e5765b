"""What the contract tests do with the stand, by ordinary boto3 clients.

Every answer of SageMaker is compared with botocore's shape of it on the way.
"""

from __future__ import annotations

import io
import json
import tarfile
import time
import urllib.error
import urllib.request
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.stand import Stand
from tests.stand.identity import CONTROL, REGION
from tests.stand.validation import output_problems

SKLEARN = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.4-2"
PYTORCH = "763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch-training:2.8-cpu-py312"
TRAINING_LOGS = "/aws/sagemaker/TrainingJobs"
PROCESSING_LOGS = "/aws/sagemaker/ProcessingJobs"
ENDED = ("Completed", "Failed", "Stopped")
INSTANCE = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}


class Account:
    """Short ways to the calls that many tests make."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.bucket = stand.s3_bucket
        self.s3 = stand.boto3("s3")
        self.sagemaker = stand.boto3("sagemaker")
        self.logs = stand.boto3("logs")
        self.sagemaker.meta.events.register("after-call.sagemaker", _check_answer)

    def put(self, key: str, body: str | bytes) -> str:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return f"s3://{self.bucket}/{key}"

    def keys(self, prefix: str) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return [entry["Key"].removeprefix(prefix) for entry in found]

    def read_archive(self, uri: str) -> dict[str, str]:
        """The files of a .tar.gz in the bucket."""
        key = uri.removeprefix(f"s3://{self.bucket}/")
        body = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            return {
                one.name: archive.extractfile(one).read().decode()  # type: ignore[union-attr]
                for one in archive.getmembers()
                if one.isfile()
            }

    def train(
        self, name: str, script: str, hyperparameters: dict[str, Any] | None = None, **members: Any
    ) -> str:
        """Start a script-mode job, with hyperparameters encoded as the SDK does; its ARN."""
        source = self.put(f"{name}/sourcedir.tar.gz", archive({"train.py": script}))
        values = {"sagemaker_program": "train.py", "sagemaker_submit_directory": source}
        values |= hyperparameters or {}
        request = self.training_request(name) | {
            "HyperParameters": {key: json.dumps(value) for key, value in values.items()}
        }
        arn: str = self.sagemaker.create_training_job(**request | members)["TrainingJobArn"]
        return arn

    def training_request(self, name: str) -> dict[str, Any]:
        """The least that a training job needs."""
        return {
            "TrainingJobName": name,
            "RoleArn": self.stand.role_arn,
            "AlgorithmSpecification": {"TrainingImage": SKLEARN, "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.bucket}/out"},
            "ResourceConfig": dict(INSTANCE),
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        }

    def wait(self, name: str, *states: str) -> dict[str, Any]:
        """The job's description once its status or secondary status is one of these."""
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            job: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
            if {job["TrainingJobStatus"], job["SecondaryStatus"]} & set(states or ENDED):
                return job
            time.sleep(0.1)
        raise AssertionError(f"{job['SecondaryStatusTransitions']}\n{self.log(name)}")

    def wait_for_log(self, name: str, text: str, group: str = TRAINING_LOGS) -> None:
        deadline = time.monotonic() + 20
        while text not in self.log(name, group):
            assert time.monotonic() < deadline, self.log(name, group)
            time.sleep(0.1)

    def log(self, name: str, group: str = TRAINING_LOGS) -> str:
        """All lines of all streams of a job, by FilterLogEvents."""
        try:
            pages = self.logs.get_paginator("filter_log_events").paginate(
                logGroupName=group, logStreamNamePrefix=f"{name}/"
            )
            return "\n".join(event["message"] for page in pages for event in page["events"])
        except self.logs.exceptions.ResourceNotFoundException:
            return ""

    def raw(self, operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """A signed request that botocore didn't check before."""
        request = AWSRequest(
            method="POST",
            url=f"{self.stand.settings.endpoint}/",
            data=json.dumps(body),
            headers={
                "X-Amz-Target": f"SageMaker.{operation}",
                "Content-Type": "application/x-amz-json-1.1",
            },
        )
        keys = Credentials(CONTROL.access_key, CONTROL.secret_key)
        SigV4Auth(keys, "sagemaker", REGION).add_auth(request)
        asked = urllib.request.Request(
            request.url, request.data.encode(), dict(request.headers.items())
        )
        try:
            with urllib.request.urlopen(asked) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            packed.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def states(job: dict[str, Any]) -> list[str]:
    return [entry["Status"] for entry in job["SecondaryStatusTransitions"]]


def _check_answer(http_response: Any, model: Any, **_: Any) -> None:
    if http_response.status_code == 200 and http_response.content:
        problems = output_problems("sagemaker", model.name, json.loads(http_response.content))
        assert not problems, problems
