"""Requests are refused as AWS refuses them; unknown callers too."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.stand.identity import CONTROL, REGION
from tests.unit.stand.account import SKLEARN, Account

MANIFEST = json.dumps(
    {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"TrainingJobName": "under_score"},
            "1 validation error detected: Value 'under_score' at 'trainingJobName' failed to "
            "satisfy constraint: Member must satisfy regular expression pattern: ",
        ),
        (
            {"TrainingJobName": "x" * 64},
            "at 'trainingJobName' failed to satisfy constraint: Member must have length less than "
            "or equal to 63",
        ),
        ({"RoleArn": None}, "Value null at 'roleArn' failed to satisfy constraint: Member must "),
        (
            {"ResourceConfig": {"InstanceType": "ml.unknown"}},
            "Value 'ml.unknown' at 'resourceConfig.instanceType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [ml.",
        ),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "VolumeSizeInGB": -1}},
            "at 'resourceConfig.volumeSizeInGB' failed to satisfy constraint: Member must have "
            "value greater than or equal to ",
        ),
        (
            {"HyperParameters": {"long": "x" * 2501}},
            "at 'hyperParameters' failed to satisfy constraint: Map value must satisfy "
            "constraint: [Member must have length less than or equal to 2500, ",
        ),
        (
            {"HyperParameters": {str(number): "" for number in range(101)}},
            "at 'hyperParameters' failed to satisfy constraint: Member must have length less than "
            "or equal to 100",
        ),
        (
            {"Environment": {"NAME": "x" * 513}},
            "at 'environment' failed to satisfy constraint: Map value must satisfy constraint: [",
        ),
        (
            {"Tags": [{"Key": str(number), "Value": ""} for number in range(51)]},
            "at 'tags' failed to satisfy constraint: Member must have length less than or equal ",
        ),
        ({"Unknown": 1}, "Unknown member 'Unknown'"),
    ],
)
def test_constraints(account: Account, name: str, change: dict[str, Any], message: str) -> None:
    request = {**account.training_request(name), **change}
    status, answer = account.raw("CreateTrainingJob", request)
    assert status == 400
    assert answer["__type"] == "ValidationException"
    assert message in answer["message"]


def test_all_that_is_wrong_is_told_at_once(account: Account) -> None:
    _, answer = account.raw("CreateTrainingJob", {})
    assert answer["message"].startswith("3 validation errors detected: ")


def test_a_hyperparameter_is_text(account: Account, name: str) -> None:
    request = account.training_request(name) | {"HyperParameters": {"lr": 0.1}}
    status, answer = account.raw("CreateTrainingJob", request)
    assert (status, answer["__type"]) == (400, "SerializationException")
    assert answer["message"] == "NUMBER_VALUE can not be converted to a String"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"RoleArn": "arn:aws:iam::123456789012:role/nobody"},
            "Could not assume role arn:aws:iam::123456789012:role/nobody. Please ensure that the "
            "role exists and allows principal 'sagemaker.amazonaws.com' to assume the role.",
        ),
        (
            {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]},
            "Duplicate tag keys found",
        ),
        ({"EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds. It must be present"),
        (
            {
                "InputDataConfig": [
                    {
                        "ChannelName": "train",
                        "DataSource": {
                            "S3DataSource": {
                                "S3DataType": "S3Prefix",
                                "S3Uri": "s3://clew-stand/nothing/here",
                            }
                        },
                    }
                ]
            },
            'No S3 objects found under S3 URL "s3://clew-stand/nothing/here" given in input data',
        ),
        (
            {
                "AlgorithmSpecification": {
                    "TrainingImage": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/missing:1",
                    "TrainingInputMode": "File",
                }
            },
            "Requested image 123456789012.dkr.ecr.eu-west-1.amazonaws.com/missing:1 not found.",
        ),
    ],
)
def test_what_only_sagemaker_can_know(
    account: Account, name: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError) as refused:
        account.sagemaker.create_training_job(**account.training_request(name) | change)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert message in refused.value.response["Error"]["Message"]


def test_missing_things_are_told_in_sagemakers_words(account: Account) -> None:
    for operation, given, message in [
        ("describe_training_job", {"TrainingJobName": "no"}, "Requested resource not found."),
        (
            "describe_processing_job",
            {"ProcessingJobName": "no"},
            "Could not find requested job with name: no",
        ),
        (
            "describe_endpoint",
            {"EndpointName": "no"},
            'Could not find endpoint "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/no".',
        ),
    ]:
        with pytest.raises(ClientError) as refused:
            getattr(account.sagemaker, operation)(**given)
        assert refused.value.response["Error"] == {
            "Code": "ValidationException",
            "Message": message,
        }


def test_unknown_keys_and_wrong_signatures_are_refused(account: Account) -> None:
    for key, secret, code in [
        ("AKIAUNKNOWN", "wrong", "UnrecognizedClientException"),
        (CONTROL.access_key, "wrong", "InvalidSignatureException"),
    ]:
        client = boto3.Session().client(
            "sagemaker",
            endpoint_url=account.stand.settings.endpoint,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )
        with pytest.raises(ClientError) as refused:
            client.list_models()
        assert refused.value.response["Error"]["Code"] == code


def test_a_token_of_the_forge_gives_a_roles_keys(account: Account) -> None:
    """Unsigned, as in GitHub's OIDC flow."""
    sts = account.stand.boto3("sts", config=Config(signature_version=UNSIGNED))
    asked = {"RoleSessionName": "run-1", "WebIdentityToken": "header.claims.signature"}
    keys = sts.assume_role_with_web_identity(RoleArn=account.stand.roles["clew-ci"], **asked)
    given = keys["Credentials"]
    client = boto3.Session().client(
        "sagemaker",
        endpoint_url=account.stand.settings.endpoint,
        region_name=REGION,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    client.list_models()
    assert account.stand.client.calls()[-1]["principal"] == account.stand.roles["clew-ci"]
    with pytest.raises(ClientError, match="Not authorized to perform sts:AssumeRoleWithWeb"):
        sts.assume_role_with_web_identity(RoleArn=f"{account.stand.role_arn}-no", **asked)


def test_other_services_are_motos(account: Account) -> None:
    stand = account.stand
    assert stand.boto3("sts").get_caller_identity()["Arn"] == CONTROL.arn
    roles = stand.boto3("iam").list_roles()["Roles"]
    assert set(stand.roles) <= {role["RoleName"] for role in roles}
    ecr = stand.boto3("ecr")
    ecr.create_repository(repositoryName="clew-job")
    ecr.put_image(repositoryName="clew-job", imageManifest=MANIFEST, imageTag="1")
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/clew-job:1"
    request = account.training_request("with-own-image")
    request["AlgorithmSpecification"]["TrainingImage"] = image
    account.sagemaker.create_training_job(**request)
    assert image != SKLEARN


def test_what_is_not_imitated_says_so(account: Account) -> None:
    client = account.stand.boto3("sagemaker")
    with pytest.raises(ClientError, match="the stand doesn't imitate sagemaker:DescribeImage"):
        client.describe_image(ImageName="x")
