"""What a run leaves in SageMaker's own registries: one model package, and the edges of lineage."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.sagemaker.cloud import Cloud

CHAIN = (
    *("data_git_commit_id", "data_version", "data_fingerprint"),
    *("run_fingerprint", "code_git_commit_id"),
)
ARN = "sagemaker.model_package_arn"


def packages(cloud: Cloud, group: str = "") -> list[dict[str, Any]]:
    client = cloud.stand.boto3("sagemaker")
    name = group or f"{cloud.name}-model"
    rows = client.list_model_packages(ModelPackageGroupName=name)["ModelPackageSummaryList"]
    return [client.describe_model_package(ModelPackageName=row["ModelPackageArn"]) for row in rows]


def edges(cloud: Cloud, end: str, arn: str) -> list[dict[str, Any]]:
    client = cloud.stand.boto3("sagemaker")
    found: list[dict[str, Any]] = client.list_associations(**{end: arn})["AssociationSummaries"]
    return found


def test_a_run_makes_one_package_and_two_edges_and_again_the_same(cloud: Cloud) -> None:
    answer = cloud.answer("run")["register"]
    (package,) = packages(cloud)
    (version,) = cloud.versions()
    (job,) = cloud.jobs()
    assert answer["model_package"] == package["ModelPackageArn"] == version.tags[ARN]
    assert package["ModelApprovalStatus"] == "Approved"
    said = package["CustomerMetadataProperties"]
    assert {name: said[name] for name in CHAIN} == {name: version.tags[name] for name in CHAIN}
    assert said["mlflow_model_version"] == f"models:/{cloud.name}-model/1"
    (container,) = package["InferenceSpecification"]["Containers"]
    model = cloud.describe(job)["ModelArtifacts"]["S3ModelArtifacts"]
    assert container["ModelDataUrl"] == model
    assert "/mlflow-pyfunc:" in container["Image"]

    component = cloud.stand.boto3("sagemaker").list_trial_components(
        SourceArn=cloud.describe(job)["TrainingJobArn"]
    )["TrialComponentSummaries"][0]["TrialComponentArn"]
    (data,) = edges(cloud, "DestinationArn", component)
    (run,) = edges(cloud, "SourceArn", component)
    assert (data["AssociationType"], run["AssociationType"]) == ("ContributedTo", "Produced")
    artifact = cloud.stand.boto3("sagemaker").describe_artifact(ArtifactArn=data["SourceArn"])
    assert artifact["Source"]["SourceUri"] == f"git:{version.tags['data_git_commit_id']}"
    artifact = cloud.stand.boto3("sagemaker").describe_artifact(ArtifactArn=run["DestinationArn"])
    assert artifact["Source"]["SourceUri"] == f"runs:/{version.run_id}"

    cloud.mlflow().delete_model_version_tag(version.name, version.version, ARN)  # as if killed
    assert cloud.answer("run")["register"]["model_package"] == package["ModelPackageArn"]
    assert len(packages(cloud)) == 1
    assert len(edges(cloud, "DestinationArn", component)) == 1
    assert len(edges(cloud, "SourceArn", component)) == 1
    trace = cloud.answer("trace", f"models:/{cloud.name}-model/1")
    assert trace["verdict"] == "PASS"
    assert package["ModelPackageArn"] in [node["id"] for node in trace["nodes"]]
    planned = cloud.clew("report", "--base", "HEAD~1", "--head", "HEAD~1").stdout
    assert "training it: at most &#36;" in planned.splitlines()[1]
    spent = cloud.clew("report", "--base", "HEAD~1").stdout
    assert "; cost under &#36;0.01; trained in " in spent.splitlines()[1]

    arn = package["ModelPackageArn"]
    cloud.stand.boto3("sagemaker").update_model_package(
        ModelPackageArn=arn, CustomerMetadataProperties={"data_version": "data/other/000000000000"}
    )
    told = cloud.clew("trace", f"models:/{cloud.name}-model/1")
    assert told.returncode == 1
    assert "FAIL: data_version of model version and package" in told.stdout
    cloud.stand.boto3("sagemaker").delete_model_package(ModelPackageName=arn)
    assert cloud.clew("trace", f"models:/{cloud.name}-model/1").returncode == 3


def test_a_refused_model_is_rejected_and_a_persons_decision_stays(cloud: Cloud) -> None:
    cloud.edit("pipeline.yaml", "min: 0.3", "min: 0.9")
    cloud.commit("Ask for more")
    assert cloud.clew("run").returncode == 1
    (package,) = packages(cloud)
    assert package["ModelApprovalStatus"] == "Rejected"
    cloud.stand.boto3("sagemaker").update_model_package(
        ModelPackageArn=package["ModelPackageArn"], ModelApprovalStatus="PendingManualApproval"
    )
    assert cloud.clew("run").returncode == 1
    assert packages(cloud)[0]["ModelApprovalStatus"] == "PendingManualApproval"
    cloud.edit("pipeline.yaml", "min: 0.9", "min: 0.3")
    cloud.commit("Ask for less")
    assert cloud.clew("run").returncode == 0
    (package,) = packages(cloud)  # the same fingerprint, and now the gates pass
    assert package["ModelApprovalStatus"] == "Approved"


def test_without_an_image_to_serve_with_nothing_starts(cloud: Cloud) -> None:
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/other:1"
    pipeline = cloud.work / "pipeline.yaml"
    pipeline.write_text(f"{pipeline.read_text()}    serving: {{image: '{image}'}}\n")
    cloud.commit("Serve with another image")
    done = cloud.clew("run")
    assert done.returncode == 2
    assert image in done.stderr
    assert "mlflow sagemaker build-and-push-container" in done.stderr
    assert cloud.jobs("Processing") == []


@pytest.fixture
def registering_app(cloud: Cloud) -> Iterator[str]:
    """The stand's MLflow App, which registers models by itself meanwhile."""
    client, arn = cloud.stand.boto3("sagemaker"), cloud.stand.mlflow_app_arn
    client.update_mlflow_app(Arn=arn, ModelRegistrationMode="AutoModelRegistrationEnabled")
    yield arn
    client.update_mlflow_app(Arn=arn, ModelRegistrationMode="AutoModelRegistrationDisabled")


def test_the_package_of_an_app_that_registers_by_itself_is_used(
    cloud: Cloud, registering_app: str
) -> None:
    cloud = dataclasses.replace(cloud, extra={"MLFLOW_TRACKING_URI": registering_app})
    arn = cloud.answer("run")["register"]["model_package"]
    group = arn.rpartition("/")[0].rpartition("/")[2]
    assert group.startswith(f"{cloud.name}-model-")
    (package,) = packages(cloud, group)
    assert package["ModelPackageArn"] == arn
    assert package["ModelApprovalStatus"] == "Approved"
    assert package["CustomerMetadataProperties"]["run_fingerprint"]
    assert package["InferenceSpecification"]["Containers"]
    groups = cloud.stand.boto3("sagemaker").list_model_package_groups(NameContains=cloud.name)
    assert len(groups["ModelPackageGroupSummaryList"]) == 1
