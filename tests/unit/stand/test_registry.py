"""The model registry, models and endpoint configurations."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.stand.account import SKLEARN, Account, archive


@pytest.fixture
def group(account: Account, name: str) -> str:
    account.sagemaker.create_model_package_group(ModelPackageGroupName=name)
    return name


def register(account: Account, group: str, **members: Any) -> str:
    data = account.put(f"{group}/model.tar.gz", archive({"x": ""}))
    specification = {
        "Containers": [{"Image": SKLEARN, "ModelDataUrl": data}],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    arn: str = account.sagemaker.create_model_package(
        ModelPackageGroupName=group, InferenceSpecification=specification, **members
    )["ModelPackageArn"]
    return arn


def test_versions_count_up_and_are_never_given_twice(account: Account, group: str) -> None:
    arns = [register(account, group) for _ in range(2)]
    account.sagemaker.delete_model_package(ModelPackageName=arns[1])
    arns.append(register(account, group))
    assert [arn.rpartition("/")[2] for arn in arns] == ["1", "2", "3"]
    listed = account.sagemaker.list_model_packages(
        ModelPackageGroupName=group, SortOrder="Descending"
    )["ModelPackageSummaryList"]
    assert [one["ModelPackageVersion"] for one in listed] == [3, 1]
    with pytest.raises(ClientError, match="does not exist"):
        account.sagemaker.describe_model_package(ModelPackageName=arns[1])


def test_properties_and_approval_can_be_changed(account: Account, group: str) -> None:
    arn = register(account, group, CustomerMetadataProperties={"a": "1", "b": "2"})
    package = account.sagemaker.describe_model_package(ModelPackageName=arn)
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    assert package["ModelPackageStatus"] == "Completed"
    account.sagemaker.update_model_package(
        ModelPackageArn=arn,
        ModelApprovalStatus="Approved",
        CustomerMetadataProperties={"b": "3"},
        CustomerMetadataPropertiesToRemove=["a"],
    )
    package = account.sagemaker.describe_model_package(ModelPackageName=arn)
    assert package["CustomerMetadataProperties"] == {"b": "3"}
    approved = account.sagemaker.list_model_packages(
        ModelPackageGroupName=group, ModelApprovalStatus="Approved"
    )["ModelPackageSummaryList"]
    assert [one["ModelPackageArn"] for one in approved] == [arn]
    found = account.sagemaker.search(
        Resource="ModelPackage",
        SearchExpression={
            "Filters": [
                {"Name": "CustomerMetadataProperties.b", "Operator": "Equals", "Value": "3"}
            ]
        },
    )["Results"]
    assert [one["ModelPackage"]["ModelPackageArn"] for one in found] == [arn]


def test_a_group_is_made_once_and_deleted_empty(account: Account, group: str) -> None:
    with pytest.raises(ClientError, match="Model Package Group already exists: arn:aws:"):
        account.sagemaker.create_model_package_group(ModelPackageGroupName=group)
    arn = register(account, group)
    with pytest.raises(account.sagemaker.exceptions.ConflictException):
        account.sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    account.sagemaker.delete_model_package(ModelPackageName=arn)
    account.sagemaker.delete_model_package_group(ModelPackageGroupName=group)


def test_a_model_needs_its_data_and_an_approved_package(account: Account, group: str) -> None:
    role = account.stand.role_arn
    with pytest.raises(ClientError, match="Could not find model data at s3://"):
        account.sagemaker.create_model(
            ModelName=group,
            ExecutionRoleArn=role,
            PrimaryContainer={"Image": SKLEARN, "ModelDataUrl": f"s3://{account.bucket}/none"},
        )
    arn = register(account, group)
    container = {"ModelPackageName": arn}
    with pytest.raises(ClientError, match="is not in Approved status"):
        account.sagemaker.create_model(
            ModelName=group, ExecutionRoleArn=role, PrimaryContainer=container
        )
    account.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    made = {"ModelName": group, "ExecutionRoleArn": role, "PrimaryContainer": container}
    account.sagemaker.create_model(**made)
    with pytest.raises(ClientError, match='Cannot create already existing model "arn:'):
        account.sagemaker.create_model(**made)


def test_a_configuration_needs_its_model(account: Account, name: str) -> None:
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": name,
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    with pytest.raises(ClientError, match='Could not find model "arn:'):
        account.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[variant]
        )
    with pytest.raises(ClientError, match='Could not find endpoint configuration "arn:'):
        account.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
