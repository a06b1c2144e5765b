"""An endpoint really serves an MLflow model, and keeps serving when an update fails."""

from __future__ import annotations

import io
import json
import tarfile
import time
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from botocore.exceptions import ClientError
from sklearn.linear_model import LogisticRegression

from tests.unit.stand.account import SKLEARN, Account

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model.tar.gz with an MLflow model in a folder, as a training job leaves it."""
    folder = tmp_path_factory.mktemp("model") / "model"
    fitted = LogisticRegression().fit(np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1])
    mlflow.sklearn.save_model(fitted, folder, pip_requirements=["scikit-learn"])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        packed.add(folder, Path("model"))
    return buffer.getvalue()


def configure(account: Account, name: str, model: bytes) -> str:
    data = account.put(f"{name}/model.tar.gz", model)
    account.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=account.stand.role_arn,
        PrimaryContainer={"Image": SKLEARN, "ModelDataUrl": data},
    )
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": name,
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    account.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    return name


def settle(account: Account, name: str) -> tuple[dict[str, Any], list[str]]:
    """The endpoint once nothing happens to it any more, and the states seen on the way."""
    seen: list[str] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found: dict[str, Any] = account.sagemaker.describe_endpoint(EndpointName=name)
        if found["EndpointStatus"] not in seen:
            seen.append(found["EndpointStatus"])
        if found["EndpointStatus"] in ("InService", "Failed"):
            return found, seen
        time.sleep(0.05)
    raise AssertionError(seen)


def ask(account: Account, name: str, body: Any) -> Any:
    runtime = account.stand.boto3("sagemaker-runtime")
    answer = runtime.invoke_endpoint(
        EndpointName=name, ContentType="application/json", Body=json.dumps(body)
    )
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    return json.loads(answer["Body"].read())


def test_serve_update_roll_back_and_delete(account: Account, name: str, model: bytes) -> None:
    first, second = configure(account, f"{name}-1", model), configure(account, f"{name}-2", model)
    broken = configure(account, f"{name}-broken", b"no archive")
    account.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=first)
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        account.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=second)
    found, seen = settle(account, name)
    assert seen == ["Creating", "InService"], found
    assert ask(account, name, {"inputs": [[0.0], [3.0]]}) == {"predictions": [0, 1]}
    with pytest.raises(ClientError) as refused:
        ask(account, name, {"wrong": 1})
    assert refused.value.response["Error"]["Code"] == "ModelError"
    assert "Received client error (400) from primary" in str(refused.value)

    account.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=second)
    assert ask(account, name, {"inputs": [[3.0]]}) == {"predictions": [1]}  # the old one, still
    found, seen = settle(account, name)
    assert (seen, found["EndpointConfigName"]) == (["Updating", "InService"], second)

    account.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=broken)
    found, seen = settle(account, name)
    assert (seen, found["EndpointConfigName"]) == (["Updating", "RollingBack", "InService"], second)
    assert "Failed to download model data" in found["FailureReason"]
    assert ask(account, name, {"inputs": [[3.0]]}) == {"predictions": [1]}

    account.sagemaker.delete_endpoint(EndpointName=name)
    with pytest.raises(ClientError, match="of account 123456789012 not found"):
        ask(account, name, {"inputs": [[3.0]]})


def test_a_model_that_does_not_load_fails_its_health_check(account: Account, name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        packed.addfile(tarfile.TarInfo("nothing"))
    config = configure(account, name, buffer.getvalue())
    account.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    found, _ = settle(account, name)
    assert found["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in found["FailureReason"]
    with pytest.raises(ClientError, match='Cannot create already existing endpoint "arn:'):
        account.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
