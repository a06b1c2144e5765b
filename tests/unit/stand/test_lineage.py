"""Lineage: entities, associations, the trial components of jobs, and MLflow Apps."""

from __future__ import annotations

import itertools

import pytest
from botocore.exceptions import ClientError

from tests.unit.stand.account import Account


def artifact(account: Account, uri: str) -> str:
    arn: str = account.sagemaker.create_artifact(
        ArtifactName=uri.rpartition("/")[2],
        Source={"SourceUri": uri},
        ArtifactType="DataSet",
        Properties={"data": "1"},
    )["ArtifactArn"]
    return arn


def test_an_artifact_and_a_job_are_joined(account: Account, name: str) -> None:
    job = account.train(name, "")
    (component,) = account.sagemaker.list_trial_components(SourceArn=job)["TrialComponentSummaries"]
    assert component["TrialComponentName"] == f"{name}-aws-training-job"
    assert component["TrialComponentSource"]["SourceType"] == "SageMakerTrainingJob"
    data = artifact(account, f"dvc://{name}")
    edge = {"SourceArn": data, "DestinationArn": component["TrialComponentArn"]}
    account.sagemaker.add_association(**edge, AssociationType="ContributedTo")
    (found,) = account.sagemaker.list_associations(DestinationArn=edge["DestinationArn"])[
        "AssociationSummaries"
    ]
    assert (found["SourceName"], found["SourceType"]) == (name, "DataSet")
    with pytest.raises(ClientError, match="already exists"):
        account.sagemaker.add_association(**edge)
    with pytest.raises(ClientError, match="still has associations"):
        account.sagemaker.delete_artifact(ArtifactArn=data)
    account.sagemaker.delete_association(**edge)
    account.sagemaker.delete_artifact(ArtifactArn=data)
    with pytest.raises(account.sagemaker.exceptions.ResourceNotFound):
        account.sagemaker.describe_artifact(ArtifactArn=data)
    account.wait(name)


def test_the_graph_is_walked_in_one_direction(account: Account, name: str) -> None:
    arns = [artifact(account, f"s3://{name}/{number}") for number in range(3)]
    for near, far in itertools.pairwise(arns):
        account.sagemaker.add_association(SourceArn=near, DestinationArn=far)
    found = account.sagemaker.query_lineage(StartArns=[arns[1]], Direction="Ascendants")
    assert [vertex["Arn"] for vertex in found["Vertices"]] == [arns[0]]
    assert len(found["Edges"]) == 1
    both = account.sagemaker.query_lineage(StartArns=[arns[0]], Direction="Descendants")
    assert [vertex["Arn"] for vertex in both["Vertices"]] == arns[1:]


def test_artifacts_are_found_by_their_source(account: Account, name: str) -> None:
    arn = artifact(account, f"dvc://{name}")
    listed = account.sagemaker.list_artifacts(SourceUri=f"dvc://{name}")["ArtifactSummaries"]
    assert [one["ArtifactArn"] for one in listed] == [arn]
    account.sagemaker.update_artifact(
        ArtifactArn=arn, Properties={"more": "2"}, PropertiesToRemove=["data"]
    )
    assert account.sagemaker.describe_artifact(ArtifactArn=arn)["Properties"] == {"more": "2"}


@pytest.mark.parametrize("kind", ["action", "context"])
def test_actions_and_contexts_have_one_name(account: Account, name: str, kind: str) -> None:
    title = kind.capitalize()
    request = {
        f"{title}Name": name,
        f"{title}Type": "Deployment",
        "Source": {"SourceUri": f"mlflow://{name}"},
    }
    create = getattr(account.sagemaker, f"create_{kind}")
    create(**request)
    with pytest.raises(ClientError, match="names must be unique"):
        create(**request)
    found = getattr(account.sagemaker, f"describe_{kind}")(**{f"{title}Name": name})
    assert found[f"{title}Type"] == "Deployment"


def test_mlflow_apps_are_described(account: Account, name: str) -> None:
    arn = account.sagemaker.create_mlflow_app(
        Name=name,
        ArtifactStoreUri=f"s3://{account.bucket}/mlflow",
        RoleArn=account.stand.role_arn,
        ModelRegistrationMode="AutoModelRegistrationEnabled",
    )["Arn"]
    app = account.sagemaker.describe_mlflow_app(Arn=arn)
    assert (app["Status"], app["ModelRegistrationMode"]) == (
        "Created",
        "AutoModelRegistrationEnabled",
    )
    listed = [one["Name"] for one in account.sagemaker.list_mlflow_apps()["Summaries"]]
    assert name in listed
    with pytest.raises(account.sagemaker.exceptions.ResourceNotFound):
        account.sagemaker.describe_mlflow_app(Arn=arn.replace("app-", "app-9"))
