"""S3: a versioned bucket, and credentials that are checked."""

from __future__ import annotations

import io
import os
import urllib.error
import urllib.request
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.stand.identity import CONTROL, REGION, role
from tests.unit.stand.account import Account


def client(account: Account, **keys: Any) -> Any:
    return boto3.Session().client(
        "s3", endpoint_url=account.stand.settings.s3_url, region_name=REGION, **keys
    )


def code(refused: pytest.ExceptionInfo[ClientError]) -> str:
    return str(refused.value.response["Error"]["Code"])


def test_the_bucket_is_versioned(account: Account, name: str) -> None:
    account.put(name, "one")
    account.put(name, "two")
    account.s3.delete_object(Bucket=account.bucket, Key=name)
    found = account.s3.list_object_versions(Bucket=account.bucket, Prefix=name)
    assert len(found["Versions"]) == 2
    old = found["Versions"][1]["VersionId"]
    body = account.s3.get_object(Bucket=account.bucket, Key=name, VersionId=old)["Body"]
    assert body.read() == b"one"


def test_a_wrong_secret_is_refused(account: Account) -> None:
    s3 = client(account, aws_access_key_id=CONTROL.access_key, aws_secret_access_key="wrong")
    with pytest.raises(ClientError) as refused:
        s3.list_objects_v2(Bucket=account.bucket)
    assert code(refused) == "SignatureDoesNotMatch"


def test_an_unknown_key_is_refused(account: Account) -> None:
    s3 = client(account, aws_access_key_id="AKIAUNKNOWN", aws_secret_access_key="wrong")
    with pytest.raises(ClientError) as refused:
        s3.list_objects_v2(Bucket=account.bucket)
    assert code(refused) == "InvalidAccessKeyId"


def test_a_role_may_use_the_bucket_but_make_none(account: Account, name: str) -> None:
    s3 = account.stand.boto3("s3", role_name="clew-training")
    s3.put_object(Bucket=account.bucket, Key=f"{name}/a b/ü+=1", Body=b"x")
    assert account.keys(name) == ["/a b/ü+=1"]
    with pytest.raises(ClientError) as refused:
        s3.create_bucket(Bucket="another-bucket")
    assert code(refused) == "AccessDenied"


def test_session_tokens_are_accepted_and_checked(account: Account, name: str) -> None:
    sts = account.stand.boto3("sts")
    given = sts.assume_role(RoleArn=account.stand.role_arn, RoleSessionName="test")["Credentials"]
    keys = {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
    }
    s3 = client(account, aws_session_token=given["SessionToken"], **keys)
    s3.put_object(Bucket=account.bucket, Key=name, Body=b"x")
    assert s3.get_object(Bucket=account.bucket, Key=name)["Body"].read() == b"x"
    with pytest.raises(ClientError) as refused:
        client(account, aws_session_token="other", **keys).list_buckets()
    assert code(refused) == "InvalidToken"


def test_presigned_addresses_and_large_objects(account: Account, name: str) -> None:
    body = os.urandom(20_000_000)
    account.s3.upload_fileobj(io.BytesIO(body), account.bucket, name)
    where = {"Bucket": account.bucket, "Key": name}
    url = account.s3.generate_presigned_url("get_object", Params=where)
    with urllib.request.urlopen(url) as reply:
        assert reply.read() == body
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url.replace("Signature=", "Signature=0"))


def test_calls_are_recorded_with_the_right_that_they_need(account: Account, name: str) -> None:
    account.stand.client.forget_calls()
    account.put(name, "x")
    account.stand.boto3("s3", role_name="clew-ci").head_object(Bucket=account.bucket, Key=name)
    account.keys(name)
    found = [(call["operation"], call["action"]) for call in account.stand.client.calls()]
    assert found == [
        ("PutObject", "s3:PutObject"),
        ("HeadObject", "s3:GetObject"),
        ("ListObjectsV2", "s3:ListBucket"),
    ]
    head = account.stand.client.calls()[1]
    assert head["principal"] == role("clew-ci").arn
    assert head["resource"] == {"Bucket": account.bucket, "Key": name}
