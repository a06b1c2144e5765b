"""Endpoints: live, replaced, back again and gone, whatever happens on the way."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.sagemaker.cloud import Cloud, make_cloud, until
from tests.system.small import Small

if TYPE_CHECKING:
    from tests.stand import Stand

MODEL = """\
import os
import mlflow

class Constant(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if {broken} and os.environ.get("SERVING_ENVIRONMENT") == "SageMaker":
            raise ValueError("no such column: x")
        return [{value}] * len(model_input)

mlflow.models.set_model(Constant())
"""
TRAIN = """\
import json, pathlib
import mlflow, pandas, yaml
lr = yaml.safe_load(open("params.yaml"))["train"]["lr"]
code = pathlib.Path("constant.py")
code.write_text(pathlib.Path("stages/constant.txt").read_text().format(value=lr, broken=lr > 0.6))
example = pandas.DataFrame({"x": [1.0, 2.0]})
mlflow.pyfunc.save_model("model", python_model=str(code), input_example=example)
pathlib.Path("model/weights.json").write_text(json.dumps({"n": 5, "lr": lr}))
"""


@pytest.fixture(scope="module")
def shop(fresh: Small, stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    """Three model versions: two that serve, and one that only fails on SageMaker."""
    cloud = make_cloud(fresh, tmp_path_factory.mktemp("shop") / "copy", stand, "shop")
    (cloud.work / "stages/train.py").write_text(TRAIN)
    (cloud.work / "stages/constant.txt").write_text(MODEL)
    cloud.edit("params.yaml", "lr: 0.5", "lr: 0.4")
    for now, following in (("0.4", "0.5"), ("0.5", "0.7"), ("0.7", "")):
        cloud.commit(f"Learn with {now}")
        cloud.run()
        if following:
            cloud.edit("params.yaml", f"lr: {now}", f"lr: {following}")
    return cloud


@pytest.fixture
def endpoint(shop: Cloud, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name.replace("_", "-")[:60].strip("-")
    yield name
    assert shop.clew("undeploy", "--endpoint", name).returncode == 0


def deployed(shop: Cloud, version: int, endpoint: str) -> Any:
    return shop.answer("deploy", f"models:/shop-model/{version}", "--endpoint", endpoint)


def prediction(shop: Cloud, endpoint: str) -> float:
    body = json.dumps({"dataframe_records": [{"x": 1.0}]})
    answer = shop.stand.boto3("sagemaker-runtime").invoke_endpoint(
        EndpointName=endpoint, Body=body, ContentType="application/json"
    )
    found: float = json.load(answer["Body"])["predictions"][0]
    return found


def configs(shop: Cloud, endpoint: str) -> list[str]:
    client = shop.stand.boto3("sagemaker")
    rows = client.list_endpoint_configs(NameContains=endpoint[:30])["EndpointConfigs"]
    models = client.list_models(NameContains=endpoint[:30])["Models"]
    names = sorted(row["EndpointConfigName"] for row in rows)
    assert names == sorted(row["ModelName"] for row in models)
    return names


def tags(shop: Cloud, endpoint: str) -> dict[str, str]:
    client = shop.stand.boto3("sagemaker")
    arn = client.describe_endpoint(EndpointName=endpoint)["EndpointArn"]
    return {tag["Key"]: tag["Value"] for tag in client.list_tags(ResourceArn=arn)["Tags"]}


def test_live_replaced_back_and_gone(shop: Cloud, endpoint: str) -> None:
    first = deployed(shop, 1, endpoint)
    assert first["changed"]
    assert first["tested"] == "2 predictions for its input example"
    assert prediction(shop, endpoint) == 0.4
    calls = len(shop.stand.client.calls())
    assert not deployed(shop, 1, endpoint)["changed"]
    later = [call["operation"] for call in shop.stand.client.calls()[calls:]]
    assert not {"CreateModel", "UpdateEndpoint", "AddTags"} & set(later)

    second = deployed(shop, 2, endpoint)
    assert prediction(shop, endpoint) == 0.5
    version = shop.mlflow().get_model_version("shop-model", "2")
    assert tags(shop, endpoint)["clew:run_fingerprint"] == version.tags["run_fingerprint"]
    trace = shop.answer("trace", f"endpoint://{endpoint}")
    assert trace["verdict"] == "PASS"
    ends = {edge["target"] for edge in trace["edges"] if edge["relation"] == "data_git_commit_id"}
    assert ends == {version.tags["data_git_commit_id"]}
    assert "models:/shop-model/2" in [node["id"] for node in trace["nodes"]]

    plan = shop.answer("rollback", "--endpoint", endpoint, "--dry-run")
    assert (plan["before"], plan["config"]) == (second["config"], first["config"])
    assert prediction(shop, endpoint) == 0.5
    assert shop.answer("rollback", "--endpoint", endpoint)["model"] == "models:/shop-model/1"
    assert prediction(shop, endpoint) == 0.4
    again = shop.answer("rollback", "--endpoint", endpoint)  # as after a kill at its very end
    assert (again["model"], again["changed"]) == ("models:/shop-model/1", False)
    assert shop.answer("rollback", "--endpoint", endpoint, "--dry-run")["action"] == "exists"
    assert prediction(shop, endpoint) == 0.4
    assert deployed(shop, 2, endpoint)["config"] == second["config"]
    assert prediction(shop, endpoint) == 0.5
    assert configs(shop, endpoint) == sorted([first["config"], second["config"]])

    assert shop.answer("undeploy", "--endpoint", endpoint)["changed"]
    assert configs(shop, endpoint) == []
    assert not shop.answer("undeploy", "--endpoint", endpoint)["changed"]


def test_a_model_that_fails_live_is_taken_back(shop: Cloud, endpoint: str) -> None:
    alone = shop.clew("deploy", "models:/shop-model/3", "--endpoint", endpoint)
    assert alone.returncode == 1
    assert "no such column: x" in alone.stderr
    assert "The endpoint is deleted again." in alone.stderr
    deployed(shop, 1, endpoint)
    told = shop.clew("deploy", "models:/shop-model/3", "--endpoint", endpoint)
    assert told.returncode == 1
    assert "is live again" in told.stderr
    assert prediction(shop, endpoint) == 0.4
    assert shop.answer("trace", f"endpoint://{endpoint}")["verdict"] == "PASS"
    shop.stand.client.deny("sagemaker:InvokeEndpoint")
    try:
        untested = shop.clew("deploy", "models:/shop-model/2", "--endpoint", endpoint)
    finally:
        shop.stand.client.no_faults()
    assert untested.returncode == 1
    assert "sagemaker:InvokeEndpoint" in untested.stderr
    assert "is live again" in untested.stderr
    assert prediction(shop, endpoint) == 0.4
    nothing = shop.clew("rollback", "--endpoint", endpoint)
    assert nothing.returncode == 2  # there was nothing before, and the failed one doesn't count
    assert "nothing was live" in nothing.stderr


def test_killed_on_the_way_it_ends_the_same(shop: Cloud, endpoint: str) -> None:
    client = shop.stand.boto3("sagemaker")

    def is_(status: str) -> bool:
        rows = client.list_endpoints(NameContains=endpoint)["Endpoints"]
        return [row["EndpointStatus"] for row in rows] == [status]

    for version, busy in ((1, "Creating"), (2, "Updating")):
        process = shop.start("deploy", f"models:/shop-model/{version}", "--endpoint", endpoint)
        until(partial(is_, busy))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        answer = deployed(shop, version, endpoint)
        assert answer["tested"] == "2 predictions for its input example"
    assert prediction(shop, endpoint) == 0.5
    process = shop.start("rollback", "--endpoint", endpoint)
    until(partial(is_, "Updating"))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert shop.answer("rollback", "--endpoint", endpoint)["model"] == "models:/shop-model/1"
    assert prediction(shop, endpoint) == 0.4
    assert len(configs(shop, endpoint)) == 2


def test_the_way_back_leads_to_what_passed_its_test(shop: Cloud, endpoint: str) -> None:
    deployed(shop, 1, endpoint)
    process = shop.start("deploy", "models:/shop-model/2", "--endpoint", endpoint)
    client = shop.stand.boto3("sagemaker")
    name = {"EndpointName": endpoint}
    until(lambda: client.describe_endpoint(**name)["EndpointStatus"] == "Updating")
    process.send_signal(signal.SIGKILL)  # version 2 comes to be live untested
    process.communicate()
    told = shop.clew("deploy", "models:/shop-model/3", "--endpoint", endpoint)
    assert told.returncode == 1
    assert prediction(shop, endpoint) == 0.4


def test_a_deployment_forward_again_that_was_cut_off_is_undone(shop: Cloud, endpoint: str) -> None:
    deployed(shop, 1, endpoint)
    deployed(shop, 2, endpoint)
    shop.answer("rollback", "--endpoint", endpoint)
    process = shop.start("deploy", "models:/shop-model/2", "--endpoint", endpoint)
    client = shop.stand.boto3("sagemaker")
    name = {"EndpointName": endpoint}
    until(lambda: client.describe_endpoint(**name)["EndpointStatus"] == "Updating")
    process.send_signal(signal.SIGKILL)  # version 2 comes to be live untested
    process.communicate()
    assert shop.answer("rollback", "--endpoint", endpoint)["model"] == "models:/shop-model/1"
    assert prediction(shop, endpoint) == 0.4


def test_a_rollback_that_aws_refuses_can_be_repeated(shop: Cloud, endpoint: str) -> None:
    deployed(shop, 1, endpoint)
    deployed(shop, 2, endpoint)
    shop.stand.client.fail("sagemaker:UpdateEndpoint", "ResourceLimitExceeded", "no more instances")
    refused = shop.clew("rollback", "--endpoint", endpoint)
    assert refused.returncode == 2
    assert "quota" in refused.stderr
    assert shop.answer("rollback", "--endpoint", endpoint)["model"] == "models:/shop-model/1"
    assert prediction(shop, endpoint) == 0.4


def test_a_rollback_undoes_a_deployment_that_was_cut_off(shop: Cloud, endpoint: str) -> None:
    first = deployed(shop, 1, endpoint)
    process = shop.start("deploy", "models:/shop-model/2", "--endpoint", endpoint)
    client = shop.stand.boto3("sagemaker")
    name = {"EndpointName": endpoint}
    until(lambda: client.describe_endpoint(**name)["EndpointStatus"] == "Updating")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until(lambda: client.describe_endpoint(**name)["EndpointStatus"] == "InService")
    plan = shop.answer("rollback", "--endpoint", endpoint, "--dry-run")
    assert plan["config"] == first["config"]
    assert shop.answer("rollback", "--endpoint", endpoint)["model"] == "models:/shop-model/1"
    assert prediction(shop, endpoint) == 0.4


def test_what_must_not_go_live_is_refused_before_anything_is_made(shop: Cloud) -> None:
    client = shop.stand.boto3("sagemaker")
    arn = shop.mlflow().get_model_version("shop-model", "1").tags["sagemaker.model_package_arn"]
    on = ("--endpoint", "refused")
    assert shop.clew("deploy", "models:/shop-model/9", *on).returncode == 2
    assert shop.clew("deploy", "models:/shop-model/1", "--endpoint", "a_b").returncode == 2
    client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected")
    try:
        told = shop.clew("deploy", "models:/shop-model/1", *on)
    finally:
        client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    assert told.returncode == 1
    assert "its model package is Rejected" in told.stderr
    shop.mlflow().set_model_version_tag("shop-model", "2", "clew.gate", "refused")
    try:
        told = shop.clew("deploy", "models:/shop-model/2", *on, "--dry-run")
    finally:
        shop.mlflow().set_model_version_tag("shop-model", "2", "clew.gate", "passed")
    assert told.returncode == 1
    assert "its gates did not pass" in told.stderr
    assert configs(shop, "refused") == []
    assert shop.clew("rollback", *on).returncode == 2


def test_an_endpoint_of_somebody_else_is_left_alone(shop: Cloud, endpoint: str) -> None:
    deployed(shop, 1, endpoint)
    client = shop.stand.boto3("sagemaker")
    arn = client.describe_endpoint(EndpointName=endpoint)["EndpointArn"]
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "clew:pipeline", "Value": "other"}])
    for command in (["deploy", "models:/shop-model/2"], ["rollback"], ["undeploy"]):
        told = shop.clew(*command, "--endpoint", endpoint)
        assert told.returncode == 2
        assert "was not made by the pipeline shop" in told.stderr
    assert prediction(shop, endpoint) == 0.4
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "clew:pipeline", "Value": "shop"}])


def test_a_trace_of_what_contradicts_itself_never_passes(shop: Cloud, endpoint: str) -> None:
    deployed(shop, 1, endpoint)
    client = shop.stand.boto3("sagemaker")
    arn = client.describe_endpoint(EndpointName=endpoint)["EndpointArn"]
    right = tags(shop, endpoint)["clew:run_fingerprint"]
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "clew:run_fingerprint", "Value": "0" * 64}])
    told = shop.clew("trace", f"endpoint://{endpoint}")
    assert told.returncode == 1
    assert "FAIL: run_fingerprint of endpoint and package" in told.stdout
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "clew:run_fingerprint", "Value": right}])
    for action in ("DescribeModelPackage", "DescribeEndpoint", "ListTags"):
        shop.stand.client.deny(f"sagemaker:{action}")
        try:
            told = shop.clew("trace", f"endpoint://{endpoint}")
        finally:
            shop.stand.client.no_faults()
        assert told.returncode == 3, told.stdout
        assert action in told.stdout
    assert shop.clew("trace", "endpoint://nobody").returncode == 2


def test_a_model_whose_bytes_were_replaced_is_not_trusted(shop: Cloud, endpoint: str) -> None:
    deployed(shop, 1, endpoint)
    s3, bucket = shop.stand.boto3("s3"), shop.stand.s3_bucket
    run = shop.mlflow().get_model_version("shop-model", "1").run_id
    job = shop.mlflow().get_run(run).data.tags["sagemaker.training_job_name"]
    place = {"Bucket": bucket, "Key": f"shop/clew/jobs/{job}/output/model.tar.gz"}
    content = s3.get_object(**place)["Body"].read()
    s3.put_object(**place, Body=content + b"\0")
    try:
        traced = shop.clew("trace", f"endpoint://{endpoint}")
        told = shop.clew("deploy", "models:/shop-model/1", "--endpoint", "replaced")
    finally:
        s3.put_object(**place, Body=content)
    assert traced.returncode == 1
    assert "it has other bytes now" in traced.stdout
    assert told.returncode == 3
    assert configs(shop, "replaced") == []
    assert shop.clew("trace", f"endpoint://{endpoint}").returncode == 0


def test_an_endpoint_of_two_models_is_not_traced_to_one(shop: Cloud, endpoint: str) -> None:
    deployed(shop, 1, endpoint)
    deployed(shop, 2, endpoint)
    client = shop.stand.boto3("sagemaker")
    variants = [
        {
            "VariantName": f"half-{number}",
            "ModelName": name,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        }
        for number, name in enumerate(configs(shop, endpoint))
    ]
    client.create_endpoint_config(EndpointConfigName="by-hand", ProductionVariants=variants)
    client.update_endpoint(EndpointName=endpoint, EndpointConfigName="by-hand")
    client.get_waiter("endpoint_in_service").wait(EndpointName=endpoint)
    traced = shop.clew("trace", f"endpoint://{endpoint}")
    client.delete_endpoint_config(EndpointConfigName="by-hand")
    assert traced.returncode == 3
    assert "by-hand does not serve one model alone" in traced.stdout


def test_without_a_sagemaker_section_there_are_no_endpoints(small: Small, tmp_path: Path) -> None:
    told = small.clew("undeploy", "--endpoint", "live")
    assert told.returncode == 2
    assert "pipeline.yaml has no executor.sagemaker" in told.stderr
