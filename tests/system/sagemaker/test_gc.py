"""`clew gc` where the DVC remote is a bucket, and MLflow a server that others use too."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.system.sagemaker.cloud import Cloud


@pytest.fixture
def left(cloud: Cloud) -> tuple[Cloud, str]:
    """More data on a branch, of which only the commit is left; its model is still registered."""
    cloud.run()
    cloud.git("switch", "-qc", "more")
    cloud.edit("params.yaml", "count: 5", "count: 8")
    cloud.commit("More data")
    cloud.run()
    cloud.git("switch", "-q", "main")
    cloud.git("branch", "-qD", "more")
    cloud.git("push", "-q", "origin", "--delete", "more")
    (tag,) = cloud.git("tag", "--no-merged", "main").split()
    commit = cloud.git("rev-parse", f"{tag}^{{commit}}")
    cloud.git("tag", "-d", tag)
    cloud.git("push", "-q", "origin", "--delete", tag)
    return cloud, commit


def pulled(cloud: Cloud, commit: str) -> int:
    cloud.git("checkout", "-q", commit)
    shutil.rmtree(cloud.work / ".dvc/cache", ignore_errors=True)
    done = subprocess.run(
        ["dvc", "pull", "-q", "--force", "data/prepared"],
        cwd=cloud.work,
        env=cloud.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return len(list((cloud.work / "data/prepared").iterdir()))


def test_a_bucket_is_cleaned_up_when_the_model_is_gone(left: tuple[Cloud, str]) -> None:
    cloud, commit = left
    before = cloud.objects()
    kept = cloud.answer("gc", "--grace", "0", "--yes")
    assert cloud.objects() == before
    assert any(f"models:/{cloud.name}-model/2" in one["reason"] for one in kept["kept"])
    assert pulled(cloud, commit) == 8
    cloud.git("checkout", "-q", "main")
    cloud.mlflow().delete_model_version(f"{cloud.name}-model", "2")
    young = cloud.answer("gc", "--yes")
    assert cloud.objects() == before
    assert any("younger than 24 h" in one["reason"] for one in young["kept"])
    done = cloud.answer("gc", "--grace", "0", "--yes")
    (remote,) = (one for one in done["remove"] if one["place"] == "remote")
    assert len(before) - len(cloud.objects()) == remote["objects"] == 4
    assert remote["bytes"] > 0
    assert "this bucket keeps old versions" in remote["note"]
    versions = cloud.stand.boto3("s3").list_object_versions(
        Bucket=cloud.stand.s3_bucket, Prefix=f"{cloud.name}/dvc/"
    )["Versions"]
    assert {version["Key"] for version in versions} >= set(before)
    assert pulled(cloud, "main") == 5


def test_a_bucket_without_versions(cloud: Cloud) -> None:
    client, bucket = cloud.stand.boto3("s3"), f"{cloud.name}-plain"
    client.create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": cloud.stand.region}
    )
    cloud.dvc("remote", "modify", "storage", "url", f"s3://{bucket}/dvc")
    cloud.commit("Another bucket")
    for key in ("dvc/files/md5/ab/" + "c" * 30, "dvc/README", "other/ab/" + "c" * 30):
        client.put_object(Bucket=bucket, Key=key, Body=b"garbage")
    done = cloud.clew("gc", "--grace", "0", "--yes")
    assert done.returncode == 0, done.stderr
    assert "(in no commit): 1 objects, 7 bytes" in done.stdout
    assert "old versions" not in done.stdout
    left = client.list_objects_v2(Bucket=bucket)["Contents"]
    assert {row["Key"] for row in left} == {"dvc/README", "other/ab/" + "c" * 30}


def test_a_bucket_that_lets_nothing_be_deleted_is_an_error(left: tuple[Cloud, str]) -> None:
    cloud, _commit = left
    cloud.mlflow().delete_model_version(f"{cloud.name}-model", "2")
    before = cloud.objects()
    cloud.stand.client.deny("s3:DeleteObject*")
    done = cloud.clew("gc", "--grace", "0", "--yes")
    assert done.returncode == 4, done.stdout + done.stderr
    assert cloud.objects() == before
    cloud.stand.client.no_faults()
    assert cloud.clew("gc", "--grace", "0", "--yes").returncode == 0
    assert len(cloud.objects()) == len(before) - 4
