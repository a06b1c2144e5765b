"""Processing jobs: inputs from S3, outputs back to it, an exit message."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.stand.account import INSTANCE, PROCESSING_LOGS, SKLEARN, Account

SCRIPT = """
import os, pathlib, sys, time
given, kept, shown = map(pathlib.Path, sys.argv[1:4])
print("input", [path.name for path in given.iterdir()], flush=True)
(kept / "deep").mkdir()
(kept / "deep" / "result").write_text("r")
(shown / "progress").write_text("p")
time.sleep(float(os.environ["SECONDS"]))
pathlib.Path(sys.argv[4]).write_text("made 1 file")
sys.exit(int(os.environ["CODE"]))
"""


def process(account: Account, name: str, seconds: float = 0, code: int = 0) -> None:
    uri = f"s3://{account.bucket}/{name}"
    account.put(f"{name}/in/x", "1")
    account.put(f"{name}/code/process.py", SCRIPT)
    account.sagemaker.create_processing_job(
        ProcessingJobName=name,
        RoleArn=account.stand.roles["clew-processing"],
        AppSpecification={
            "ImageUri": SKLEARN,
            "ContainerEntrypoint": ["python", "/opt/ml/processing/code/process.py"],
            "ContainerArguments": [
                *(f"/opt/ml/processing/{part}" for part in ("in", "kept", "shown")),
                "/opt/ml/output/message",
            ],
        },
        ProcessingResources={"ClusterConfig": INSTANCE},
        Environment={"SECONDS": str(seconds), "CODE": str(code)},
        ProcessingInputs=[_input(uri, "in"), _input(uri, "code")],
        ProcessingOutputConfig={
            "Outputs": [_output(uri, "kept", "EndOfJob"), _output(uri, "shown", "Continuous")]
        },
    )


def _input(uri: str, name: str) -> dict[str, Any]:
    place = {"S3Uri": f"{uri}/{name}", "LocalPath": f"/opt/ml/processing/{name}"}
    return {
        "InputName": name,
        "S3Input": place | {"S3DataType": "S3Prefix", "S3InputMode": "File"},
    }


def _output(uri: str, name: str, mode: str) -> dict[str, Any]:
    place = {"S3Uri": f"{uri}/{name}", "LocalPath": f"/opt/ml/processing/{name}"}
    return {"OutputName": name, "S3Output": place | {"S3UploadMode": mode}}


def wait(account: Account, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        job: dict[str, Any] = account.sagemaker.describe_processing_job(ProcessingJobName=name)
        if job["ProcessingJobStatus"] not in ("InProgress", "Stopping"):
            return job
        time.sleep(0.1)
    raise AssertionError(account.log(name, PROCESSING_LOGS))


def test_a_job_from_start_to_end(account: Account, name: str) -> None:
    process(account, name)
    job = wait(account, name)
    assert job["ProcessingJobStatus"] == "Completed", account.log(name, PROCESSING_LOGS)
    assert job["ExitMessage"] == "made 1 file"
    assert account.keys(f"{name}/kept/") == ["deep/result"]
    assert account.keys(f"{name}/shown/") == ["progress"]
    assert "input ['x']" in account.log(name, PROCESSING_LOGS)
    summaries = account.sagemaker.list_processing_jobs(NameContains=name)
    assert summaries["ProcessingJobSummaries"][0]["ProcessingJobStatus"] == "Completed"


def test_a_failure_keeps_what_was_sent_meanwhile(account: Account, name: str) -> None:
    process(account, name, code=3)
    job = wait(account, name)
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == (
        "AlgorithmError: See job logs for more information, exit code: 3"
    )
    assert (account.keys(f"{name}/kept/"), account.keys(f"{name}/shown/")) == ([], ["progress"])


def test_continuous_outputs_come_while_the_job_runs_and_it_can_be_stopped(
    account: Account, name: str
) -> None:
    process(account, name, seconds=60)
    account.wait_for_log(name, "input", PROCESSING_LOGS)
    deadline = time.monotonic() + 5
    while not account.keys(f"{name}/shown/"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    account.sagemaker.stop_processing_job(ProcessingJobName=name)
    assert wait(account, name)["ProcessingJobStatus"] == "Stopped"


def test_names_and_places_are_checked(account: Account, name: str) -> None:
    process(account, name)
    with pytest.raises(account.sagemaker.exceptions.ResourceInUse, match="Job name must be unique"):
        process(account, name)
    wait(account, name)
    with pytest.raises(ClientError, match="must start with /opt/ml/processing"):
        account.sagemaker.create_processing_job(
            ProcessingJobName=f"{name}-2",
            RoleArn=account.stand.role_arn,
            AppSpecification={"ImageUri": SKLEARN},
            ProcessingResources={"ClusterConfig": INSTANCE},
            ProcessingInputs=[
                {
                    "InputName": "x",
                    "S3Input": {
                        "S3Uri": f"s3://{account.bucket}/{name}",
                        "LocalPath": "/data",
                        "S3DataType": "S3Prefix",
                    },
                }
            ],
        )
