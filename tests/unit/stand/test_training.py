"""Training jobs really run, in containers that see what a container sees."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.stand.api import now
from tests.unit.stand.account import PYTORCH, TRAINING_LOGS, Account, states

SCRIPT = """
import importlib.util, json, os, pathlib, sys
import boto3
print("arguments", sys.argv[1:])
sts = boto3.client("sts", region_name=os.environ["AWS_REGION"])
print("caller", sts.get_caller_identity()["Arn"])
print("clew", importlib.util.find_spec("clew"))
seen = {"environment": sorted(os.environ), "FLAG": os.environ["FLAG"]}
seen["data"] = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "sub/x.csv").read_text()
pathlib.Path(os.environ["SM_MODEL_DIR"], "seen.json").write_text(json.dumps(seen))
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "metrics.json").write_text("{}")
"""
SLEEP = "import time\nprint('sleeping', flush=True)\ntime.sleep(60)\n"


def test_a_job_from_start_to_end(account: Account, name: str) -> None:
    data = account.put(f"{name}/data/sub/x.csv", "1,2").removesuffix("/sub/x.csv")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": data}}
    arn = account.train(
        name,
        SCRIPT,
        {"lr": 0.1, "names": ["a", "b"]},
        InputDataConfig=[{"ChannelName": "train", "DataSource": source}],
        Environment={"FLAG": "on"},
        Tags=[{"Key": "clew:run_fingerprint", "Value": "abc"}],
    )
    job = account.wait(name)
    assert job["TrainingJobStatus"] == "Completed", account.log(name)
    assert states(job) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all("EndTime" in entry for entry in job["SecondaryStatusTransitions"])
    assert job["Environment"] == {"FLAG": "on"}
    assert job["TrainingTimeInSeconds"] == job["BillableTimeInSeconds"] > 0
    assert account.sagemaker.list_tags(ResourceArn=arn)["Tags"][0]["Value"] == "abc"
    log = account.log(name)
    assert "arguments ['--lr', '0.1', '--names', \"['a', 'b']\"]" in log
    assert "caller arn:aws:sts::123456789012:assumed-role/clew-training/" in log
    assert "clew None" in log  # the checkout is not in the image
    seen = json.loads(account.read_archive(job["ModelArtifacts"]["S3ModelArtifacts"])["seen.json"])
    assert (seen["FLAG"], seen["data"]) == ("on", "1,2")
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & set(seen["environment"])
    assert "TRAINING_JOB_NAME" in seen["environment"]
    assert account.keys(f"out/{name}/output/") == ["model.tar.gz", "output.tar.gz"]


def test_a_name_is_taken_for_ever(account: Account, name: str) -> None:
    arn = account.train(name, "")
    account.wait(name)
    with pytest.raises(account.sagemaker.exceptions.ResourceInUse) as refused:
        account.train(name, "")
    assert refused.value.response["Error"]["Message"] == (
        "Training job names must be unique within an AWS account and region, and a training job "
        f"with this name already exists ({arn})"
    )


def test_of_many_at_once_one_gets_the_name(account: Account, name: str) -> None:
    request = account.training_request(name)

    def create(_: int) -> str:
        try:
            account.sagemaker.create_training_job(**request)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "made"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(create, range(8))) == ["ResourceInUse"] * 7 + ["made"]


@pytest.mark.parametrize(("image", "told"), [("", 'ErrorMessage ""'), (PYTORCH, "no luck")])
def test_a_failure_says_what_the_toolkit_says(
    account: Account, name: str, image: str, told: str
) -> None:
    algorithm = account.training_request(name)["AlgorithmSpecification"]
    algorithm |= {"TrainingImage": image} if image else {}
    account.train(name, "raise ValueError('no luck')", AlgorithmSpecification=algorithm)
    job = account.wait(name)
    assert job["TrainingJobStatus"] == "Failed"
    assert states(job)[-2:] == ["Training", "Failed"]
    reason = job["FailureReason"]
    assert reason.startswith("AlgorithmError: ExecuteUserScriptError:\nExitCode 1\n")
    assert told in reason
    assert reason.endswith(", exit code: 1")
    assert "no luck" in account.log(name)


def test_logs_can_be_read_while_the_job_runs(account: Account, name: str) -> None:
    account.train(name, SLEEP)
    account.wait_for_log(name, "sleeping")
    (stream,) = account.logs.describe_log_streams(
        logGroupName=TRAINING_LOGS, logStreamNamePrefix=name
    )["logStreams"]
    assert stream["logStreamName"].startswith(f"{name}/algo-1-")
    where = {"logGroupName": TRAINING_LOGS, "logStreamName": stream["logStreamName"]}
    first = account.logs.get_log_events(**where, startFromHead=True)
    again = account.logs.get_log_events(**where, nextToken=first["nextForwardToken"])
    assert first["events"]
    assert again["events"] == []
    assert again["nextForwardToken"] == first["nextForwardToken"]
    account.sagemaker.stop_training_job(TrainingJobName=name)


def test_a_missing_stream_is_no_missing_group(account: Account, name: str) -> None:
    account.train(name, "")
    account.wait(name)
    for group, stream, message in [
        (TRAINING_LOGS, "none", "The specified log stream does not exist."),
        ("/aws/none", "none", "The specified log group does not exist."),
    ]:
        with pytest.raises(ClientError, match=message):
            account.logs.get_log_events(logGroupName=group, logStreamName=stream)


def test_stopping_takes_the_grace_period(account: Account, name: str) -> None:
    """The toolkit doesn't pass SIGTERM on (its issue 125), so the script is killed."""
    account.train(name, "import signal\nsignal.signal(15, print)\n" + SLEEP)
    account.wait_for_log(name, "sleeping")
    began = time.monotonic()
    account.sagemaker.stop_training_job(TrainingJobName=name)
    job = account.sagemaker.describe_training_job(TrainingJobName=name)
    assert job["TrainingJobStatus"] == "Stopping"
    job = account.wait(name)
    assert time.monotonic() - began > 1.5
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert states(job)[-3:] == ["Training", "Stopping", "Stopped"]
    with pytest.raises(ClientError, match="the training job is in status Stopped"):
        account.sagemaker.stop_training_job(TrainingJobName=name)


def test_a_container_that_handles_sigterm_ends_by_itself(account: Account, name: str) -> None:
    algorithm = account.training_request(name)["AlgorithmSpecification"]
    script = (
        "trap 'echo x > /opt/ml/model/saved; exit 0' TERM; "
        "echo sleeping; while true; do sleep 0.1; done"
    )
    algorithm |= {"ContainerEntrypoint": ["sh", "-c"], "ContainerArguments": [script]}
    request = account.training_request(name) | {"AlgorithmSpecification": algorithm}
    account.sagemaker.create_training_job(**request)
    account.wait_for_log(name, "sleeping")
    account.sagemaker.stop_training_job(TrainingJobName=name)
    job = account.wait(name)
    assert job["SecondaryStatus"] == "Stopped"
    assert "saved" in account.read_archive(job["ModelArtifacts"]["S3ModelArtifacts"])


def test_a_job_that_takes_too_long_is_stopped(account: Account, name: str) -> None:
    account.train(name, SLEEP, StoppingCondition={"MaxRuntimeInSeconds": 1})
    job = account.wait(name)
    assert job["TrainingJobStatus"] == "Stopped"
    assert states(job)[-2:] == ["Stopping", "MaxRuntimeExceeded"]


def test_lists_are_filtered_sorted_and_paged(account: Account, name: str) -> None:
    before = now()
    names = [f"{name}-{number}" for number in range(3)]
    for one in names:
        account.train(one, "raise SystemExit(1)" if one == names[1] else "")
    for one in names:
        account.wait(one)
    first = account.sagemaker.list_training_jobs(
        NameContains=name.upper(), SortBy="Name", SortOrder="Descending", MaxResults=2
    )
    rest = account.sagemaker.list_training_jobs(
        NameContains=name,
        SortBy="Name",
        SortOrder="Descending",
        MaxResults=2,
        NextToken=first["NextToken"],
    )
    found = first["TrainingJobSummaries"] + rest["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in found] == names[::-1]
    assert "NextToken" not in rest
    failed = account.sagemaker.list_training_jobs(
        StatusEquals="Failed", CreationTimeAfter=before, NameContains=name
    )["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in failed] == [names[1]]
    with pytest.raises(ClientError, match="Invalid pagination token"):
        account.sagemaker.list_training_jobs(NextToken="%%%")


def test_search_and_tags(account: Account, name: str) -> None:
    arn = account.train(name, "", Tags=[{"Key": "clew:data", "Value": name}])
    account.wait(name)
    tags = account.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])["Tags"]
    assert {tag["Key"] for tag in tags} == {"clew:data", "b"}
    found = account.sagemaker.search(
        Resource="TrainingJob",
        SearchExpression={
            "Filters": [
                {"Name": "Tags.clew:data", "Operator": "Equals", "Value": name},
                {"Name": "TrainingJobStatus", "Operator": "Equals", "Value": "Completed"},
            ]
        },
    )["Results"]
    assert [one["TrainingJob"]["TrainingJobName"] for one in found] == [name]
    account.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["b"])
    assert len(account.sagemaker.list_tags(ResourceArn=arn)["Tags"]) == 1
