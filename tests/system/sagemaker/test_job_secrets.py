"""Secrets of the stages: read by the job's own role, and in nothing that others see."""

from __future__ import annotations

import json

import pytest

from tests.system.sagemaker.cloud import Cloud

VALUE = "pass-w0rd of the tracking server"
LOGIN = """\
import os, pathlib
assert os.environ["MLFLOW_TRACKING_PASSWORD"].startswith("pass-w0rd")
"""


def with_secret(cloud: Cloud, arn: str) -> None:
    cloud.edit("stages/train.py", "import json, pathlib\n", f"import json\n{LOGIN}")
    secrets = f"secrets: {{MLFLOW_TRACKING_PASSWORD: '{arn}'}}"
    cloud.edit("pipeline.yaml", "max_runtime_hours: 1", secrets)
    cloud.commit("Log in")


def test_a_stage_has_what_the_secret_holds_and_no_definition_does(cloud: Cloud) -> None:
    client = cloud.stand.boto3("secretsmanager")
    arn = client.create_secret(Name=f"{cloud.name}-password", SecretString=VALUE)["ARN"]
    with_secret(cloud, arn)
    done = cloud.clew("run")
    assert done.returncode == 0, done.stdout + done.stderr + cloud.all_logs()
    described = json.dumps(cloud.describe(cloud.jobs()[-1]), default=str)
    for seen in (described, cloud.all_logs(), done.stdout + done.stderr):
        assert VALUE not in seen


def test_one_that_can_not_be_read_is_named(cloud: Cloud) -> None:
    region = cloud.stand.region
    with_secret(cloud, f"arn:aws:secretsmanager:{region}:123456789012:secret:nobodys-aBcDeF")
    done = cloud.clew("run")
    assert done.returncode == 4
    assert "the secret of MLFLOW_TRACKING_PASSWORD" in done.stderr
    assert "nobodys" in done.stderr


@pytest.mark.parametrize("value", ["plain-password", "arn:aws:iam::123456789012:role/r"])
def test_a_value_in_its_place_is_refused_and_not_shown_to_aws(cloud: Cloud, value: str) -> None:
    with_secret(cloud, value)
    done = cloud.clew("run")
    assert done.returncode == 2
    assert "the ARN of a secret" in done.stderr
    assert cloud.jobs("Processing") == []
