"""What the doctor makes of an account that says this or that."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from clew.account import Account, Identity, Image, Right
from clew.cli.doctor import sum_up
from clew.config.model import Budget, Instance, Network, SageMaker, Spot
from clew.context import Context
from clew.doctor import Examination, Finding, Verdict, is_private, trusts
from clew.ports import RemoteConfig
from clew.rights import job_rights, own_rights, serving_rights

SERVICE = "sagemaker.amazonaws.com"
REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
APP = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-1"
SETTINGS = SageMaker(
    role="arn:aws:iam::123456789012:role/ml/clew-training",
    region="eu-west-1",
    s3_prefix="s3://bucket/clew",
    image=f"{REGISTRY}/team/jobs@sha256:{'a' * 64}",
    instance=Instance("ml.m5.large", 2),
    network=Network(("subnet-1",), ("sg-1",)),
    kms_key="arn:aws:kms:eu-west-1:123456789012:key/1",
)


class Described(Account):
    """An account in memory, which says yes to everything unless told otherwise."""

    def __init__(self, **answers: Any) -> None:
        self._answers: dict[str, Any] = {
            "bucket_region": "eu-west-1",
            "key_state": "Enabled",
            "app_status": "Created",
            "networks": {"subnet-1": "vpc-1", "sg-1": "vpc-1"},
            "quota": 10.0,
            **answers,
        }
        self.asked_for: list[str] = []

    def identity(self) -> Identity:
        return Identity("arn:aws:iam::123456789012:user/me", "123456789012")

    def bucket_region(self, bucket: str) -> str | None:
        region: str | None = self._answers["bucket_region"]
        return region

    def is_versioned(self, bucket: str) -> bool:
        return True

    def is_encrypted(self, bucket: str) -> bool:
        return True

    def check_remote(self, remote: RemoteConfig) -> None:
        assert remote.name == "storage"

    def trust_policy(self, role: str) -> Mapping[str, Any]:
        return {"Statement": {"Effect": "Allow", "Action": "*", "Principal": {"Service": SERVICE}}}

    def denied(self, principal: str, rights: Sequence[Right]) -> list[Right]:
        return []

    def job_image(self) -> str:
        return str(SETTINGS.image)

    def serving_image(self) -> str:
        return f"{REGISTRY}/mlflow-pyfunc:3"

    def has_image(self, image: Image) -> bool:
        self.asked_for.append(f"{image.repository} {image.digest or image.tag}")
        return True

    def app_status(self, arn: str) -> str | None:
        status: str | None = self._answers["app_status"]
        return status

    def quotas(self, names: Sequence[str]) -> Mapping[str, float]:
        return dict.fromkeys(names, self._answers["quota"])

    def key_state(self, key: str) -> str | None:
        state: str | None = self._answers["key_state"]
        return state

    def networks(self, subnets: Sequence[str], groups: Sequence[str]) -> Mapping[str, str]:
        found: dict[str, str] = self._answers["networks"]
        return found


def examine(account: Account, settings: SageMaker = SETTINGS, uri: str = APP) -> dict[str, Finding]:
    context = SimpleNamespace(
        store=SimpleNamespace(remote=lambda: RemoteConfig("storage", "s3://bucket/dvc")),
        pipeline=SimpleNamespace(
            name="small",
            data=SimpleNamespace(stages=("prepare",)),
            mlflow=SimpleNamespace(tracking_uri=uri, model="small-model"),
        ),
    )
    findings = Examination(cast(Context, context), settings, account).findings()
    return {finding.name: finding for finding in findings}


def test_all_is_well_where_the_account_says_so() -> None:
    account = Described()
    found = examine(account)
    assert {finding.verdict for finding in found.values()} == {Verdict.OK}
    assert account.asked_for == [f"team/jobs sha256:{'a' * 64}", "mlflow-pyfunc 3"]


@pytest.mark.parametrize(
    ("answers", "name", "words"),
    [
        ({"bucket_region": "us-east-1"}, "bucket", "is in us-east-1, the jobs are in eu-west-1"),
        ({"key_state": "PendingDeletion"}, "KMS key", "is PendingDeletion"),
        ({"app_status": "Deleting"}, "MLflow App", "is Deleting"),
        ({"app_status": "Creating"}, "MLflow App", "is Creating"),
        ({"quota": 1.0}, "ml.m5.large for training job usage", "1 instances are allowed, 2 are"),
        (
            {"networks": {"subnet-1": "vpc-1", "sg-1": "vpc-2"}},
            "network",
            "more than one VPC: ['vpc-1', 'vpc-2']",
        ),
    ],
)
def test_one_thing_wrong_is_the_one_thing_told(
    answers: dict[str, Any], name: str, words: str
) -> None:
    wrong = {key: f for key, f in examine(Described(**answers)).items() if f.verdict != Verdict.OK}
    assert list(wrong) == [name]
    assert wrong[name].verdict is Verdict.FAIL
    assert words in wrong[name].detail
    assert wrong[name].fix


def test_the_quotas_of_spot_and_warm_instances_are_others() -> None:
    spot = dataclasses.replace(SETTINGS, spot=Spot(2))
    assert "ml.m5.large for spot training job usage" in examine(Described(), spot)
    warm = dataclasses.replace(SETTINGS, keep_alive_minutes=5)
    assert "ml.m5.large for training warm pool usage" in examine(Described(), warm)


@pytest.mark.parametrize(
    ("budget", "kind", "verdict"),
    [
        (Budget(5, 100), "ml.m5.large", Verdict.OK),
        (Budget(per_run_usd=5), "ml.m5.large", Verdict.OK),
        (Budget(100, 5), "ml.m5.large", Verdict.FAIL),
        (Budget(per_month_usd=5), "ml.nobody.large", Verdict.FAIL),
        (Budget(), "ml.nobody.large", Verdict.OK),
    ],
)
def test_a_budget_makes_sense(budget: Budget, kind: str, verdict: Verdict) -> None:
    settings = dataclasses.replace(SETTINGS, budget=budget, instance=Instance(kind))
    assert examine(Described(), settings)["budget"].verdict is verdict


def test_an_image_has_to_be_where_the_jobs_are() -> None:
    settings = dataclasses.replace(SETTINGS, region="eu-central-1")
    found = examine(Described(bucket_region="eu-central-1"), settings)["job image"]
    assert found.verdict is Verdict.FAIL
    assert "not in ECR in eu-central-1" in found.detail


@pytest.mark.parametrize(
    ("uri", "verdict"),
    [
        ("https://mlflow.example.org/base", Verdict.OK),
        ("http://8.8.8.8:5000", Verdict.OK),
        ("http://10.0.0.3:5000", Verdict.UNKNOWN),
        ("http://[::1]:5000", Verdict.UNKNOWN),
        ("http://tracking:5000", Verdict.UNKNOWN),
        (APP.replace("app/", "tracking-server/"), Verdict.UNKNOWN),
        ("sqlite:///mlflow.db", Verdict.FAIL),
    ],
)
def test_whether_jobs_reach_mlflow(uri: str, verdict: Verdict) -> None:
    assert examine(Described(), uri=uri)["MLflow from jobs"].verdict is verdict


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "192.168.1.2", "a.internal", "fd00::1"])
def test_private_hosts(host: str) -> None:
    assert is_private(host)


@pytest.mark.parametrize(
    ("statement", "trusted"),
    [
        (
            {"Action": "sts:AssumeRole", "Principal": {"Service": [SERVICE, "x.amazonaws.com"]}},
            True,
        ),
        ({"Action": ["sts:TagSession", "sts:AssumeRole"], "Principal": {"Service": SERVICE}}, True),
        ({"Action": "sts:*", "Principal": "*"}, True),
        ({"Action": "sts:TagSession", "Principal": {"Service": SERVICE}}, False),
        ({"Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::1:root"}}, False),
        (
            {"Effect": "Deny", "Action": "sts:AssumeRole", "Principal": {"Service": SERVICE}},
            False,
        ),
    ],
)
def test_trust_policies(statement: dict[str, Any], trusted: bool) -> None:
    assert trusts({"Statement": [{"Effect": "Allow", **statement}]}, SERVICE) is trusted
    assert not trusts({"Statement": []}, SERVICE)


def test_only_processing_may_write_data_and_only_what_is_ours_is_asked_for() -> None:
    uri = "https://mlflow.example.org"
    writes = Right("s3:PutObject", "arn:aws:s3:::bucket/dvc/*")
    image = str(SETTINGS.image)
    training = job_rights("Training", SETTINGS, image, "s3://bucket/dvc", uri)
    assert writes not in training
    assert writes in job_rights("Processing", SETTINGS, image, "s3://bucket/dvc", uri)
    repository = "arn:aws:ecr:eu-west-1:123456789012:repository/team/jobs"
    assert Right("ecr:BatchGetImage", repository) in training
    assert Right("kms:Decrypt", str(SETTINGS.kms_key)) in training
    assert Right("ec2:DescribeSubnets", "*") in training
    assert Right("sagemaker:CallMlflowAppApi", APP) in job_rights(
        "Training", SETTINGS, image, "s3://bucket/dvc", APP
    )
    theirs = image.replace("123456789012", "763104351884")
    others = [*serving_rights(SETTINGS, theirs), *job_rights("Training", SETTINGS, theirs, "", uri)]
    assert not [right for right in others if right.action.startswith("ecr:")]
    assert Right("iam:PassRole", SETTINGS.role) in own_rights(SETTINGS, "small", "small-model")


def test_images_of_china_and_by_tag_are_understood() -> None:
    found = Image.of("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/a/b:1")
    assert found == Image("123456789012", "cn-north-1", "a/b", None, "1")


def test_the_last_line_counts_what_was_not_checked() -> None:
    findings = [Finding("a", Verdict.OK, ""), Finding("b", Verdict.UNKNOWN, "")]
    assert sum_up(findings) == "1 in order, 0 to fix, 1 not checked"


def test_buckets_are_in_the_partition_of_the_role() -> None:
    role = "arn:aws-cn:iam::123456789012:role/clew-training"
    china = dataclasses.replace(SETTINGS, role=role, kms_key=None)
    resources = {right.resource for right in own_rights(china, "small", "small-model")}
    assert not [arn for arn in resources if arn.startswith("arn:aws:")]


def test_a_key_and_a_network_ask_rights_of_all_who_use_them() -> None:
    key = SETTINGS.kms_key or ""
    serving = serving_rights(SETTINGS, SETTINGS.image if isinstance(SETTINGS.image, str) else "")
    for rights in (serving, own_rights(SETTINGS, "small", "small-model")):
        assert Right("kms:GenerateDataKey", key) in rights
        assert Right("kms:Decrypt", key) in rights
    assert Right("ec2:DescribeSubnets", "*") in serving


def test_jobs_may_read_the_secrets_that_their_stages_need() -> None:
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mlflow-aBcDeF"
    settings = dataclasses.replace(SETTINGS, secrets={"MLFLOW_TRACKING_PASSWORD": arn})
    for kind in ("Training", "Processing"):
        found = job_rights(kind, settings, "image", "s3://bucket/dvc", "https://mlflow.example.org")
        assert Right("secretsmanager:GetSecretValue", arn) in found
