"""Everything that can be made to go wrong, does, once or as often as asked for."""

from __future__ import annotations

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.unit.stand.account import Account, states


def test_throttling_by_operation(account: Account) -> None:
    client = account.stand.boto3("sagemaker", config=Config(retries={"max_attempts": 0}))
    account.stand.client.throttle(1.0, "sagemaker:ListModels")
    with pytest.raises(ClientError) as refused:
        client.list_models()
    assert refused.value.response["Error"] == {
        "Code": "ThrottlingException",
        "Message": "Rate exceeded",
    }
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    client.list_endpoints()


def test_throttling_everywhere(account: Account) -> None:
    account.stand.client.throttle(1.0)
    once = Config(retries={"max_attempts": 0})
    for service, call, code in [
        ("s3", "list_buckets", "SlowDown"),
        ("sts", "get_caller_identity", "Throttling"),
        ("logs", "describe_log_groups", "ThrottlingException"),
    ]:
        with pytest.raises(ClientError) as refused:
            getattr(account.stand.boto3(service, config=once), call)()
        assert refused.value.response["Error"]["Code"] == code


def test_some_throttling_is_overcome_by_retries(account: Account) -> None:
    account.stand.client.throttle(0.05)
    client = account.stand.boto3("sagemaker", config=Config(retries={"mode": "standard"}))
    account.stand.client.forget_calls()
    for _ in range(40):
        client.list_models()
    calls = account.stand.client.calls()
    assert len(calls) > 40
    assert {call["error"] for call in calls} == {None, "ThrottlingException"}


def test_a_failure_comes_as_often_as_asked(account: Account) -> None:
    account.stand.client.fail("sagemaker:DescribeModel", "ResourceLimitExceeded", "quota", times=1)
    for code in ("ResourceLimitExceeded", "ValidationException"):
        with pytest.raises(ClientError) as refused:
            account.sagemaker.describe_model(ModelName="none")
        assert refused.value.response["Error"]["Code"] == code


def test_a_missing_right_is_told_in_awss_words(account: Account) -> None:
    account.stand.client.deny("sagemaker:List*", "*:role/clew-ci")
    account.sagemaker.list_models()
    client = account.stand.boto3("sagemaker", role_name="clew-ci")
    with pytest.raises(ClientError) as refused:
        client.list_models()
    error = refused.value.response["Error"]
    assert error["Code"] == "AccessDeniedException"
    assert error["Message"].startswith(
        "User: arn:aws:sts::123456789012:assumed-role/clew-ci/stand is not authorized to perform: "
        "sagemaker:ListModels on resource: "
    )


def test_a_missing_right_is_seen_by_the_simulation(account: Account) -> None:
    account.stand.client.deny("s3:PutObject", "*:role/clew-training")
    iam = account.stand.boto3("iam")
    verdicts = {
        one["EvalActionName"]: one["EvalDecision"]
        for one in iam.simulate_principal_policy(
            PolicySourceArn=account.stand.role_arn, ActionNames=["s3:GetObject", "s3:PutObject"]
        )["EvaluationResults"]
    }
    assert verdicts == {"s3:GetObject": "allowed", "s3:PutObject": "implicitDeny"}


def test_no_capacity(account: Account, name: str) -> None:
    account.stand.client.no_capacity(job=f"{name}-*", times=1)
    for number, status in enumerate(["Failed", "Completed"]):
        account.train(f"{name}-{number}", "")
        job = account.wait(f"{name}-{number}")
        assert job["TrainingJobStatus"] == status
        assert ("TrainingStartTime" in job) == (status == "Completed")
        if status == "Failed":
            assert job["FailureReason"].startswith(
                "CapacityError: Unable to provision requested ML compute capacity."
            )


def test_an_internal_error_is_retried_when_asked(account: Account, name: str) -> None:
    account.stand.client.internal_error(times=2)
    account.train(name, "", RetryStrategy={"MaximumRetryAttempts": 1})
    job = account.wait(name)
    assert job["FailureReason"].startswith("InternalServerError: ")
    assert states(job) == ["Starting", "Restarting", "Failed"]
    account.stand.client.internal_error(times=1)
    account.train(f"{name}-2", "", RetryStrategy={"MaximumRetryAttempts": 1})
    assert account.wait(f"{name}-2")["TrainingJobStatus"] == "Completed"


def test_a_slow_start_can_be_stopped(account: Account, name: str) -> None:
    account.stand.client.slow_start(30, job=name)
    account.train(name, "")
    job = account.wait(name, "Starting")
    account.sagemaker.stop_training_job(TrainingJobName=name)
    job = account.wait(name)
    assert states(job) == ["Starting", "Stopping", "Stopped"]
    assert "TrainingTimeInSeconds" not in job
