"""`clew doctor`: what is wrong with an AWS account is named, what can't be seen is no yes."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.system.sagemaker.cloud import Cloud, make_cloud
from tests.system.small import Small

if TYPE_CHECKING:
    from tests.stand import Stand

BUCKET = "clew-doctor"
CONTROL = "*:user/clew-control"
NOWHERE = "http://127.0.0.1:9"
NOT_SEEN_HERE = {"bucket", "MLflow from jobs"}  # S3's region, and whether jobs reach loopback


class Told(NamedTuple):
    """What one `clew doctor` said."""

    code: int
    findings: dict[str, dict[str, str]]

    def names(self, verdict: str) -> set[str]:
        return {name for name, found in self.findings.items() if found["verdict"] == verdict}

    def fails(self, name: str, *words: str) -> None:
        found = self.findings[name]
        assert found["verdict"] == "FAIL", found
        assert found["fix"]
        for word in words:
            assert word in f"{found['detail']} {found['fix']}"


@pytest.fixture(scope="module")
def healthy(fresh: Small, stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    """A pipeline on SageMaker with nothing to complain of."""
    s3, ecr = stand.boto3("s3"), stand.boto3("ecr")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})
    stand.push_image("doctor", "1")
    (image,) = ecr.describe_images(repositoryName="doctor")["imageDetails"]
    uri = f"{registry(stand)}/doctor@{image['imageDigest']}"
    cloud = make_cloud(fresh, tmp_path_factory.mktemp("doctor") / "small", stand, "doctor", uri)
    for path in ("pipeline.yaml", ".dvc/config"):
        cloud.edit(path, f"s3://{stand.s3_bucket}/", f"s3://{BUCKET}/")
    cloud.commit("Use the doctor's bucket")
    return cloud


def registry(stand: Stand) -> str:
    return f"{stand.account}.dkr.ecr.{stand.region}.amazonaws.com"


@pytest.fixture
def patient(healthy: Cloud, tmp_path: Path) -> Cloud:
    """A copy of the healthy pipeline, to be made ill."""
    shutil.copytree(healthy.folder, tmp_path / "copy", symlinks=True)
    return dataclasses.replace(healthy, folder=tmp_path / "copy")


@pytest.fixture
def ask(patient: Cloud, stand: Stand) -> Any:
    """Commit the patient's changes and let clew look at it; all faults end afterwards."""

    def ask(*arguments: str, **variables: str) -> Told:
        if patient.git("status", "--porcelain"):
            patient.commit("Ill")
        asked = dataclasses.replace(patient, extra=variables)
        done = asked.clew("doctor", "--json", *arguments)
        assert "Traceback" not in done.stderr
        assert done.stdout, done.stderr
        return Told(done.returncode, {row.pop("name"): row for row in json.loads(done.stdout)})

    yield ask
    stand.client.no_faults()


Ask = Callable[..., Told]


def test_a_healthy_account_has_nothing_to_fix(patient: Cloud, ask: Ask) -> None:
    told = ask()
    assert told.code == 0
    assert told.names("FAIL") == set()
    assert told.names("unknown") == NOT_SEEN_HERE
    assert {
        *("AWS credentials", "bucket versioning", "bucket encryption", "role", "own rights"),
        *("rights of training", "rights of processing", "rights of endpoints", "job image"),
        *("serving image", "DVC remote in S3", "DVC remote", "verify = true", "MLflow"),
        *("ml.m5.large for training job usage", "ml.m5.large for processing job usage"),
        "ml.m5.large for endpoint usage",
    } <= told.names("ok")
    shown = patient.clew("doctor").stdout.splitlines()
    assert shown[-1] == f"{len(told.findings) - 2} in order, 0 to fix, 2 not checked"
    assert any(line.startswith("?    bucket  ") and "not checked: " in line for line in shown)


def test_it_changes_nothing(stand: Stand, ask: Ask) -> None:
    stand.client.forget_calls()
    ask()
    operations = {call["operation"] for call in stand.client.calls()}
    assert {"GetCallerIdentity", "SimulatePrincipalPolicy", "HeadBucket"} <= operations
    asking = ("Get", "Head", "List", "Describe", "Simulate")
    assert [name for name in operations if not name.startswith(asking)] == []


def test_on_this_machine_it_asks_nobody_at_aws(stand: Stand, ask: Ask) -> None:
    stand.client.forget_calls()
    told = ask("--executor", "local")
    assert told.code == 0
    assert {"DVC remote", "verify = true", "MLflow"} <= told.names("ok")
    assert {call["service"] for call in stand.client.calls()} <= {"s3"}  # DVC's remote


def test_everything_that_is_wrong_is_told_at_once(patient: Cloud, stand: Stand, ask: Ask) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}
    document = json.dumps({"Statement": [{**trust, "Action": "sts:AssumeRole"}]})
    iam = stand.boto3("iam")
    iam.create_role(RoleName="untrusting", AssumeRolePolicyDocument=document)
    stand.boto3("s3").create_bucket(Bucket="clew-doctor-plain")
    patient.edit(
        "pipeline.yaml", f"s3://{BUCKET}/doctor/clew", "s3://clew-doctor-plain/doctor/clew"
    )
    patient.edit(".dvc/config", f"s3://{BUCKET}/doctor/dvc", "s3://clew-doctor-plain/doctor")
    patient.edit("pipeline.yaml", "ml.m5.large, count: 1", "ml.p4d.24xlarge, count: 2")
    text = (patient.work / "pipeline.yaml").read_text()
    text = text.replace(text.partition("doctor@sha256:")[2][:64], "0" * 64)
    (patient.work / "pipeline.yaml").write_text(
        f"{text}"
        f"    processing_role: arn:aws:iam::{stand.account}:role/untrusting\n"
        "    kms_key: alias/nobody\n"
        "    network: {subnets: [subnet-0a1b2c3d], security_groups: [sg-0a1b2c3d]}\n"
        f"    serving: {{role: 'arn:aws:iam::{stand.account}:role/ml/clew-training', "
        "image: docker.example.org/serve}\n"
        "    budget: {per_run_usd: 100, per_month_usd: 10}\n"
    )
    told = ask(MLFLOW_TRACKING_URI="sqlite:///.clew/mlflow.db")
    assert told.code == 2
    told.fails("bucket versioning", "put-bucket-versioning", "clew-doctor-plain")
    told.fails("bucket encryption", "put-bucket-encryption")
    told.fails("DVC remote in S3", "overlap")
    told.fails("processing role", "sagemaker.amazonaws.com", "untrusting")
    told.fails("serving role", "there is no role", "role/ml/clew-training")
    told.fails("job image", "there is no image", f"@sha256:{'0' * 64}")
    told.fails("serving image", "docker.example.org/serve is not in ECR")
    told.fails("ml.p4d.24xlarge for training job usage", "0 instances", "Ask AWS to raise", "to 2")
    told.fails("ml.p4d.24xlarge for processing job usage", "to 1")
    told.fails("KMS key", "alias/nobody does not exist")
    told.fails("network", "subnet-0a1b2c3d, sg-0a1b2c3d")
    told.fails("MLflow from jobs", "sqlite")
    told.fails("budget", "100 USD", "month 10")
    assert {"role", "own rights", "rights of training", "AWS credentials"} <= told.names("ok")
    assert told.names("unknown") == {"bucket", "rights of endpoints"}


def test_a_bucket_a_role_and_an_app_that_are_not_there(
    patient: Cloud, stand: Stand, ask: Ask
) -> None:
    patient.edit("pipeline.yaml", f"s3://{BUCKET}/", "s3://clew-nobodys/")
    with (patient.work / "pipeline.yaml").open("a") as file:
        file.write(f"    processing_role: arn:aws:iam::{stand.account}:role/nobody\n")
    told = ask(MLFLOW_TRACKING_URI=f"{stand.mlflow_app_arn}9")
    told.fails("bucket", "clew-nobodys does not exist", "Create it in eu-west-1")
    told.fails("MLflow App", "does not exist")
    told.fails("processing role", "there is no role", "role/nobody")
    assert "bucket versioning" in told.names("FAIL")
    there = ask(MLFLOW_TRACKING_URI=stand.mlflow_app_arn)
    assert there.findings["MLflow App"]["detail"].startswith("Created")


def test_a_right_that_is_lacking_is_named_with_who_lacks_it(stand: Stand, ask: Ask) -> None:
    stand.client.deny("s3:PutObject", "*:role/clew-training")
    stand.client.deny("iam:PassRole", CONTROL)
    told = ask()
    files = f"s3:PutObject on arn:aws:s3:::{BUCKET}/doctor"
    told.fails("rights of training", f"clew-training lacks {files}/clew/*")
    told.fails("rights of processing", f"{files}/clew/*, {files}/dvc/*")
    told.fails("own rights", f"clew-control lacks iam:PassRole on {stand.role_arn}")
    assert told.names("FAIL") == {"rights of training", "rights of processing", "own rights"}


def test_what_may_not_be_seen_is_neither_right_nor_wrong(
    patient: Cloud, stand: Stand, ask: Ask
) -> None:
    with (patient.work / "pipeline.yaml").open("a") as file:
        file.write(
            "    kms_key: alias/mine\n"
            "    network: {subnets: [subnet-0a1b2c3d], security_groups: [sg-0a1b2c3d]}\n"
        )
    for action in ("iam:*", "ecr:*", "kms:*", "ec2:*", "servicequotas:*", "s3:GetBucketVersioning"):
        stand.client.deny(action, CONTROL)
    told = ask()
    unseen = {
        *("role", "own rights", "rights of training", "rights of processing"),
        *("rights of endpoints", "job image", "serving image", "KMS key", "network"),
        *("ml.m5.large for training job usage", "ml.m5.large for processing job usage"),
        *("ml.m5.large for endpoint usage", "bucket versioning"),
    }
    assert told.names("unknown") == unseen | NOT_SEEN_HERE
    assert told.code == 0
    assert "not authorized to perform: iam:GetRole" in told.findings["role"]["detail"]
    stand.client.no_faults()
    stand.client.throttle(1.0, "iam:GetRole")
    found = ask().findings["role"]
    assert (found["verdict"], found["detail"]) == ("unknown", "AWS asks for fewer calls")


def test_a_bucket_that_may_not_be_listed_is_no_use(stand: Stand, ask: Ask) -> None:
    stand.client.deny("s3:ListBucket", CONTROL)
    ask().fails("bucket", "another account's, or you may not list it", "s3:ListBucket")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "does not take the credentials"),
        ({"AWS_ACCESS_KEY_ID": "AKIANOBODY"}, "does not take the credentials"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "there are no AWS credentials"),
        ({"AWS_ENDPOINT_URL": NOWHERE}, "AWS can't be reached"),
    ],
)
def test_without_credentials_nothing_of_aws_is_claimed(
    ask: Ask, variables: dict[str, str], words: str
) -> None:
    told = ask(**variables)
    told.fails("AWS credentials", words)
    names = {"bucket", "role", "own rights", "job image", "ml.m5.large for endpoint usage"}
    assert names <= told.names("unknown")
    assert {"DVC remote in S3", "budget"} <= told.names("ok")
    assert told.code == 2


def test_expired_or_of_another_account(patient: Cloud, stand: Stand, ask: Ask) -> None:
    said = "The security token included in the request is expired"
    stand.client.fail("sts:GetCallerIdentity", "ExpiredToken", said, status=403)
    ask().fails("AWS credentials", "expired", "aws sso login")
    patient.edit(
        "pipeline.yaml", "role: arn:aws:iam::123456789012", "role: arn:aws:iam::999999999999"
    )
    told = ask()
    told.fails("AWS credentials", "123456789012", "999999999999", "AWS_PROFILE")
    assert {"role", "bucket"} <= told.names("unknown")


def test_what_only_this_machine_has_and_types_without_a_quota(patient: Cloud, ask: Ask) -> None:
    patient.edit("pipeline.yaml", "ml.m5.large", "ml.x9.large")
    patient.edit(".dvc/config", f"s3://{BUCKET}/doctor/dvc", "../../storage")
    told = ask(MLFLOW_TRACKING_URI=NOWHERE)
    told.fails("DVC remote in S3", "storage", "dvc remote add -d NAME s3://")
    told.fails("MLflow", "can't be reached")
    assert {"MLflow from jobs", "ml.x9.large for training job usage"} <= told.names("unknown")


def test_a_framework_image_is_in_aws_own_registry(patient: Cloud, ask: Ask) -> None:
    text = (patient.work / "pipeline.yaml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("    image: "))
    patient.edit("pipeline.yaml", line, '    image: {framework: sklearn, version: "1.4-2"}')
    found = ask().findings["job image"]
    assert found["verdict"] == "unknown"
    assert "sagemaker-scikit-learn:1.4-2-cpu-py3 is in the registry" in found["detail"]
    patient.edit("pipeline.yaml", '"1.4-2"', '"9.9"')
    ask().fails("job image", "AWS has no image for sklearn 9.9")


def test_a_role_asks_for_itself(stand: Stand, ask: Ask) -> None:
    """In CI the caller is a session of a role, whose policies are the role's."""
    keys = stand.boto3("sts").assume_role(RoleArn=stand.roles["clew-ci"], RoleSessionName="github")[
        "Credentials"
    ]
    stand.client.deny("sagemaker:CreateTrainingJob", "*:role/clew-ci")
    told = ask(
        AWS_ACCESS_KEY_ID=keys["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=keys["SecretAccessKey"],
        AWS_SESSION_TOKEN=keys["SessionToken"],
    )
    assert "assumed-role/clew-ci/" in told.findings["AWS credentials"]["detail"]
    told.fails("own rights", "sagemaker:CreateTrainingJob", "training-job/doctor-*")
