"""What goes wrong on AWS: lost and broken data, failing stages, throttling, no machines."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
import shutil

import pytest

from tests.system.sagemaker.cloud import Cloud, until

CHECKPOINTS = """\
import os, pathlib, time
folder = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"], "checkpoints")
folder.mkdir(exist_ok=True)
epoch = folder / "epoch"
if not epoch.exists():
    epoch.write_text("1")
    print("first epoch", flush=True)
    time.sleep(120)
print("resumed after epoch", epoch.read_text())
"""


@pytest.fixture
def again(cloud: Cloud) -> Cloud:
    """A pipeline after its first run, about to train once more."""
    cloud.run()
    cloud.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    cloud.commit("Train again")
    return cloud


@pytest.mark.parametrize("trouble", ["overwritten", "truncated", "missing"])
def test_data_that_is_not_what_git_says_stops_before_training(again: Cloud, trouble: str) -> None:
    s3, key = again.stand.boto3("s3"), again.data_object("3.txt")
    place = {"Bucket": again.stand.s3_bucket, "Key": key}
    s3.delete_object(**place)
    if trouble != "missing":
        s3.put_object(**place, Body=b"raw 4\n" if trouble == "overwritten" else b"")
    done = again.clew("run")
    assert done.returncode == 3, done.stdout + done.stderr
    word = "corrupt" if trouble == "overwritten" else trouble
    assert f"data/prepared/3.txt ({word})" in done.stderr
    assert len(again.jobs("Processing")) == len(again.jobs()) == 1
    assert len(again.versions()) == 1


def test_an_object_without_an_md5_as_its_etag_is_read(again: Cloud) -> None:
    s3, key = again.stand.boto3("s3"), again.data_object("3.txt")
    place = {"Bucket": again.stand.s3_bucket, "Key": key}
    for body, code in ((b"raw 4\n", 3), (b"raw 3\n", 0)):
        upload = s3.create_multipart_upload(**place)["UploadId"]
        part = s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=body)["ETag"]
        parts = {"Parts": [{"ETag": part, "PartNumber": 1}]}
        s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload=parts)
        assert "-1" in s3.head_object(**place)["ETag"]
        done = again.clew("version")
        assert done.returncode == code, done.stderr
        assert ("data/prepared/3.txt (corrupt)" in done.stderr) is (code == 3)


@pytest.mark.slow
def test_of_many_objects_all_that_are_not_right_are_named(cloud: Cloud) -> None:
    cloud.edit("params.yaml", "count: 5", "count: 1100")
    cloud.commit("Many")
    cloud.run()
    cloud.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    cloud.commit("Train again")
    s3, bucket = cloud.stand.boto3("s3"), cloud.stand.s3_bucket
    s3.delete_object(Bucket=bucket, Key=cloud.data_object("7.txt"))
    s3.put_object(Bucket=bucket, Key=cloud.data_object("1001.txt"), Body=b"raw 1002\n")
    cloud.stand.client.forget_calls()
    done = cloud.clew("run")
    assert done.returncode == 3, done.stderr
    assert "data/prepared/7.txt (missing)" in done.stderr
    assert "data/prepared/1001.txt (corrupt)" in done.stderr
    assert len(cloud.jobs()) == 1
    asked = [call["operation"] for call in cloud.stand.client.calls()]
    assert asked.count("HeadObject") + asked.count("GetObject") < 50


def test_data_that_breaks_after_the_check_is_found_by_the_job(again: Cloud) -> None:
    again.stand.client.slow_start(seconds=3, job=f"{again.name}-train-*")
    process = again.start()
    until(lambda: len(again.jobs()) == 2)
    place = {"Bucket": again.stand.s3_bucket, "Key": again.data_object("3.txt")}
    again.stand.boto3("s3").put_object(**place, Body=b"raw 4\n")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 4, output
    assert "data/prepared/3.txt is corrupt" in output.rpartition("clew: ")[2]
    assert {run.info.status for run in again.runs("train")} == {"FINISHED", "FAILED"}
    assert len(again.versions()) == 1


@pytest.mark.parametrize(("archive", "kept"), [("output", 100), ("output", 0), ("model", 100)])
def test_results_that_broke_in_s3_are_named(cloud: Cloud, archive: str, kept: int) -> None:
    assert cloud.clew("version").returncode == 0
    assert cloud.clew("run", "--detach").returncode == 0
    (training,) = cloud.jobs()
    until(lambda: cloud.describe(training)["TrainingJobStatus"] == "Completed")
    s3, key = cloud.stand.boto3("s3"), f"jobs/{training}/output/{archive}.tar.gz"
    place = {"Bucket": cloud.stand.s3_bucket, "Key": f"{cloud.name}/clew/{key}"}
    s3.put_object(**place, Body=s3.get_object(**place)["Body"].read()[:kept])
    done = cloud.clew("run")
    assert done.returncode == 3, done.stderr
    assert key in done.stderr
    assert cloud.versions() == []
    s3.delete_object(**place)
    assert cloud.clew("run", "--detach").returncode == 4
    assert cloud.jobs() == [training], "only a person pays for the same again"
    cloud.run("--retry")
    assert len(cloud.jobs()) == 2
    assert len(cloud.versions()) == 1


def test_a_lock_that_the_data_does_not_match_stops_the_run_and_pays_for_nothing(
    cloud: Cloud,
) -> None:
    assert cloud.clew("run", "--detach").returncode == 0
    (job,) = cloud.jobs("Processing")
    until(lambda: cloud.describe(job, "Processing")["ProcessingJobStatus"] == "Completed")
    key = f"{cloud.name}/clew/jobs/{job}/output/dvc.lock"
    s3, place = cloud.stand.boto3("s3"), {"Bucket": cloud.stand.s3_bucket, "Key": key}
    lock = s3.get_object(**place)["Body"].read()
    s3.put_object(**place, Body=re.sub(rb"[0-9a-f]{32}\.dir", b"a" * 32 + b".dir", lock))
    for _ in range(2):
        done = cloud.clew("run", "--detach")
        assert done.returncode == 3, done.stdout + done.stderr
        assert f"the job {job} left a dvc.lock that the data does not match" in done.stderr
        assert "data/prepared (missing)" in done.stderr
    assert (cloud.jobs("Processing"), cloud.jobs()) == ([job], [])
    s3.put_object(**place, Body=lock)
    shutil.rmtree(cloud.work / f".clew/jobs/{job}")  # as the message says
    assert cloud.clew("run", "--detach").returncode == 0
    assert (cloud.jobs("Processing"), len(cloud.jobs())) == ([job], 1)


def test_a_training_that_leaves_no_model_is_told_and_not_paid_for_again(cloud: Cloud) -> None:
    empty = 'pathlib.Path("model/weights.json").unlink()\n'
    (cloud.work / "stages/evaluate.py").open("a").write(empty)
    cloud.commit("Leave nothing")
    assert cloud.clew("version").returncode == 0
    assert cloud.clew("run", "--detach").returncode == 0
    (training,) = cloud.jobs()
    until(lambda: cloud.describe(training)["TrainingJobStatus"] == "Completed")
    for _ in range(2):
        done = cloud.clew("run", "--detach")
        assert done.returncode == 4, done.stdout + done.stderr
        assert f"the training job {training} left nothing in model" in done.stderr
        assert "--retry" in done.stderr
    assert cloud.jobs() == [training]
    assert {run.info.status for run in cloud.runs("train")} == {"FAILED"}


def test_a_broken_result_of_processing_is_named(cloud: Cloud) -> None:
    assert cloud.clew("run", "--detach").returncode == 0
    (job,) = cloud.jobs("Processing")
    until(lambda: cloud.describe(job, "Processing")["ProcessingJobStatus"] == "Completed")
    key = f"{cloud.name}/clew/jobs/{job}/output/clew-result.json"
    cloud.stand.boto3("s3").put_object(Bucket=cloud.stand.s3_bucket, Key=key, Body=b'{"pus')
    done = cloud.clew("run")
    assert done.returncode == 3, done.stderr
    assert f"{job} are not what a job leaves: clew-result.json" in done.stderr


def test_a_bucket_that_is_not_there_is_no_passing_trouble(cloud: Cloud) -> None:
    cloud.edit("pipeline.yaml", f"{cloud.stand.s3_bucket}/{cloud.name}/clew", "nobodys-bucket")
    cloud.commit("Another bucket")
    done = cloud.clew("run")
    assert done.returncode == 2, done.stderr
    assert "executor.sagemaker.s3_prefix" in done.stderr


def test_missing_data_that_no_commit_has_yet_is_made_again(cloud: Cloud) -> None:
    assert cloud.clew("process").returncode == 0
    cloud.stand.boto3("s3").delete_object(
        Bucket=cloud.stand.s3_bucket, Key=cloud.data_object("3.txt")
    )
    answer = cloud.answer("run")
    assert answer["process"]["files"] == {"new": 1, "reused": 4}
    assert len(cloud.jobs("Processing")) == 2


def test_a_job_that_fails_says_so_in_the_words_of_its_stage(cloud: Cloud) -> None:
    cloud.edit("params.yaml", "fail: false", "fail: true")
    cloud.commit("Fail")
    done = cloud.clew("run")
    assert done.returncode == 4, done.stdout + done.stderr
    (training,) = cloud.jobs()
    said = done.stderr.rpartition("clew: ")[2]
    assert training in said
    assert "AlgorithmError: failed to reproduce 'train'" in said
    assert said.splitlines()[0].endswith("| the loss is NaN")
    (run,) = cloud.runs("train")
    assert run.info.status == "FAILED"
    assert "the loss is NaN" in run.data.tags["clew.failure"]
    assert cloud.versions() == []
    assert float(run.data.tags["clew.cost_usd"]) > 0
    _not_paid_for_twice(cloud, training)


def _not_paid_for_twice(cloud: Cloud, training: str) -> None:
    """The same again says the same, until somebody asks for another attempt."""
    for arguments in ((), ("--dry-run",)):
        again = cloud.clew("run", *arguments)
        assert again.returncode == 4
        assert f"the job {training} failed: AlgorithmError" in again.stderr
        assert "the loss is NaN" in again.stderr
        assert "clew run --retry" in again.stderr
    assert cloud.jobs() == [training]
    assert [run.info.status for run in cloud.runs("run")] == ["FAILED"], "a failure is told once"
    assert "RUNNING" not in {run.info.status for run in cloud.runs("train")}
    assert cloud.clew("run", "--retry").returncode == 4
    assert len(cloud.jobs()) == 2


def test_a_stage_of_process_that_fails_says_so_too(cloud: Cloud) -> None:
    cloud.edit("stages/prepare.py", "print(", 'raise SystemExit("no raw data")\nprint(')
    cloud.commit("Fail")
    done = cloud.clew("run")
    assert done.returncode == 4, done.stdout + done.stderr
    said = done.stderr.rpartition("clew: ")[2]
    assert "AlgorithmError: failed to reproduce 'prepare'" in said
    assert said.splitlines()[0].endswith("| no raw data")
    assert [run.info.status for run in cloud.runs("process")] == ["FAILED"]


def test_a_failure_after_detaching_is_told_and_not_paid_for_again(cloud: Cloud) -> None:
    cloud.edit("params.yaml", "fail: false", "fail: true")
    cloud.commit("Fail")
    assert cloud.clew("version").returncode == 0
    assert cloud.clew("run", "--detach").returncode == 0
    (training,) = cloud.jobs()
    waited = cloud.clew("wait", training)
    assert waited.returncode == 4
    assert "Failed: AlgorithmError" in waited.stdout
    assert "the loss is NaN" in waited.stdout
    for _ in range(2):
        told = cloud.clew("run", "--detach")
        assert told.returncode == 4
        assert "the loss is NaN" in told.stderr
    assert cloud.jobs() == [training]
    assert cloud.clew("run", "--detach", "--retry").returncode == 0
    assert len(cloud.jobs()) == 2


def test_a_right_that_is_lacking_is_named(cloud: Cloud) -> None:
    cloud.stand.client.deny("sagemaker:CreateProcessingJob", "*:user/clew-control")
    done = cloud.clew("run")
    assert done.returncode == 2, done.stderr
    assert "lacks the right sagemaker:CreateProcessingJob" in done.stderr
    assert "clew-control" in done.stderr


def test_a_quota_is_told_from_a_lack_of_machines(cloud: Cloud) -> None:
    cloud.stand.client.fail(
        "sagemaker:CreateProcessingJob",
        "ResourceLimitExceeded",
        "The account-level service limit 'ml.m5.large for processing job usage' is 0 Instances",
    )
    done = cloud.clew("run")
    assert done.returncode == 2, done.stderr
    assert "quota" in done.stderr
    assert "ml.m5.large for processing job usage" in done.stderr


def test_a_job_over_its_limit_of_time_says_which(cloud: Cloud) -> None:
    cloud.edit("pipeline.yaml", "max_runtime_hours: 1", "max_runtime_hours: 0.002")
    cloud.edit("stages/train.py", "import json", "import time; time.sleep(60)\nimport json")
    cloud.commit("Slow")
    done = cloud.clew("run")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "MaxRuntimeExceeded" in done.stderr.rpartition("clew: ")[2]
    assert "max_runtime_hours" in done.stderr.rpartition("clew: ")[2]


@pytest.mark.slow
def test_throttling_no_capacity_and_a_lost_spot_machine_delay_one_model(cloud: Cloud) -> None:
    cloud.edit("pipeline.yaml", "max_runtime_hours: 1", "spot: {max_wait_hours: 2}")
    cloud.edit("stages/train.py", "import json", f"{CHECKPOINTS}import json")
    cloud.commit("Spot")
    client = cloud.stand.client
    client.throttle(0.05)
    client.no_capacity(f"{cloud.name}-train-*")
    process = cloud.start()
    until(lambda: len(_started(cloud)) == 2 and "first epoch" in cloud.log(_started(cloud)[1]))
    client.interrupt(_started(cloud)[1])
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    client.no_faults()
    failed, training = cloud.jobs()
    assert cloud.describe(failed)["FailureReason"].startswith("CapacityError")
    job = cloud.describe(training)
    assert "Interrupted" in [entry["Status"] for entry in job["SecondaryStatusTransitions"]]
    assert "resumed after epoch 1" in cloud.log(training)
    assert len(cloud.versions()) == 1
    (run,) = cloud.runs("train")
    assert run.info.status == "FINISHED"
    assert run.data.tags["sagemaker.training_job_name"] == training
    billed = float(run.data.tags["sagemaker.billable_seconds"])
    assert billed < float(run.data.tags["sagemaker.training_seconds"])


def _started(cloud: Cloud) -> list[str]:
    """Return the training jobs, also while calls are throttled."""
    try:
        return cloud.jobs()
    except Exception:
        return []


def test_without_capacity_it_ends_after_so_many_attempts(cloud: Cloud) -> None:
    cloud.edit("pipeline.yaml", "max_runtime_hours: 1", "capacity_attempts: 2")
    cloud.commit("Two attempts")
    cloud.stand.client.no_capacity(f"{cloud.name}-train-*", times=2)
    done = cloud.clew("run")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "CapacityError" in done.stderr.rpartition("clew: ")[2]
    assert len(cloud.jobs()) == 2
    assert [run.info.status for run in cloud.runs("train")] == ["FAILED"]
    cloud.run()
    assert len(cloud.jobs()) == 3
    assert len(cloud.versions()) == 1


def test_jobs_that_nobody_waits_for_find_no_machine_only_so_often(cloud: Cloud) -> None:
    cloud.run()
    cloud.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    cloud.edit("pipeline.yaml", "max_runtime_hours: 1", "capacity_attempts: 2")
    cloud.commit("Two attempts")
    cloud.stand.client.no_capacity(f"{cloud.name}-train-*", times=2)
    for _ in range(2):
        assert cloud.clew("run", "--detach").returncode == 0
        job = cloud.jobs()[-1]
        until(lambda job=job: cloud.describe(job)["TrainingJobStatus"] == "Failed")  # type: ignore[misc]
    done = cloud.clew("run", "--detach")
    assert done.returncode == 4
    assert "CapacityError" in done.stderr
    assert len(cloud.jobs()) == 3
    assert cloud.clew("run", "--detach", "--retry").returncode == 0
    assert len(cloud.jobs()) == 4


def test_an_attempt_after_its_own_failure_begins_without_checkpoints(cloud: Cloud) -> None:
    cloud.edit("pipeline.yaml", "max_runtime_hours: 1", "spot: {max_wait_hours: 2}")
    cloud.edit("params.yaml", "fail: false", "fail: true")
    cloud.commit("Fail on spot")
    assert cloud.clew("run").returncode == 4
    assert cloud.clew("run", "--retry").returncode == 4
    first, second = (cloud.describe(name)["CheckpointConfig"]["S3Uri"] for name in cloud.jobs())
    assert first != second


def test_no_credentials_get_into_what_others_see(cloud: Cloud) -> None:
    keys = cloud.stand.environment
    for option, value in (
        ("access_key_id", keys["AWS_ACCESS_KEY_ID"]),
        ("secret_access_key", keys["AWS_SECRET_ACCESS_KEY"]),
    ):
        cloud.dvc("remote", "modify", "--local", "storage", option, value)
    planted = {
        "AWS_SESSION_TOKEN_BACKUP": "plantedTokenInTheEnvironment",
        "MY_AWS_SECRET_ACCESS_KEY": "plantedSecretInTheEnvironment",
    }
    cloud = dataclasses.replace(cloud, extra=planted)
    done = cloud.clew("run", "-v")
    assert done.returncode == 0, done.stderr
    seen = {"output": done.stdout + done.stderr, "logs": cloud.all_logs()}
    for kind in ("Processing", "Training"):
        for name in cloud.jobs(kind):
            seen[name] = json.dumps(cloud.describe(name, kind), default=str)
    for stage in ("run", "process", "train", "evaluate"):
        (run,) = cloud.runs(stage)
        seen[stage] = json.dumps([run.data.params, run.data.tags, str(run.inputs)])
    seen |= {key: body.decode("latin-1") for key, body in _stored(cloud).items()}
    secrets = [keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], *planted.values()]
    for place, text in seen.items():
        for secret in secrets:
            assert secret not in text, place
    assert any(place.endswith("job.json") for place in seen)


def _stored(cloud: Cloud) -> dict[str, bytes]:
    """Return what is in S3 and outside of DVC: job code, specifications, results; unpacked."""
    s3, bucket = cloud.stand.boto3("s3"), cloud.stand.s3_bucket
    found = {
        key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in cloud.objects("clew")
    }
    return {key: gzip.decompress(b) if key.endswith("gz") else b for key, b in found.items()}
