"""The whole flow on SageMaker: the same commit, the same data, a model with its lineage."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from clew.adapters.job_code import job_requirements
from tests.system.sagemaker.cloud import PYTORCH, Cloud, interrupt, until
from tests.system.small import Small

CHAIN = (
    "data_git_commit_id",
    "data_version",
    "data_fingerprint",
    "run_fingerprint",
    "code_git_commit_id",
)
TOGETHER = """\
import json, os, pathlib
rank = os.environ.get("RANK", "0")
print(f"rank {rank} of {os.environ.get('WORLD_SIZE')}")
if rank == "0":
    model = pathlib.Path("model"); model.mkdir(exist_ok=True)
    (model / "weights.json").write_text(json.dumps({"n": 1, "lr": 0.5}))
"""
MEET = """\
import os, socket, time
where = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
if os.environ["RANK"] == "0":
    with socket.create_server(where) as server:
        print(f"met {server.accept()[0].recv(100).decode()}")
else:
    for _ in range(600):
        try:
            socket.create_connection(where).send(b"rank " + os.environ["RANK"].encode())
            break
        except OSError:
            time.sleep(0.1)
"""
WITHOUT_AWS = """\
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("boto3", "botocore", "sagemaker", "sagemaker_mlflow"):
            raise ImportError("AWS is not here")
sys.meta_path.insert(0, Blocked())
"""


def test_a_commit_becomes_a_model_by_a_processing_and_a_training_job(
    cloud: Cloud, finished: Small
) -> None:
    answer = cloud.answer("run")
    (processing,), (training,) = cloud.jobs("Processing"), cloud.jobs("Training")
    assert answer["process"] == {
        "stages": ["prepare"],
        "job": processing,
        "files": {"new": 5, "reused": 0},
    }
    assert answer["train"]["job"] == training
    assert answer["train"]["metrics"] == {"accuracy": 0.55, "n": 5}
    _same_data(cloud, finished)
    _whole_lineage(cloud, answer, training)
    _nothing_new(cloud, answer)


def _same_data(cloud: Cloud, local: Small) -> None:
    here, there = cloud.answer("resolve"), local.answer("resolve")
    assert here["data_fingerprint"] == there["data_fingerprint"]
    assert here["outputs"] == there["outputs"]
    assert here["run_fingerprint"] != there["run_fingerprint"]
    stored = {key.rpartition("/md5/")[2] for key in cloud.objects()}
    folder = local.storage / "files/md5"
    assert stored == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    }


def _whole_lineage(cloud: Cloud, answer: dict[str, dict[str, str]], training: str) -> None:
    resolved = cloud.answer("resolve")
    facts = {key: resolved.get(key, resolved["commit"]) for key in CHAIN}
    (version,) = cloud.versions()
    assert {key: version.tags[key] for key in CHAIN} == facts
    tag = cloud.git("rev-list", "-n1", facts["data_version"], cwd=cloud.origin)
    assert tag == facts["data_git_commit_id"]
    for stage in ("run", "process", "train", "evaluate"):
        (run,) = cloud.runs(stage)
        assert run.info.status == "FINISHED"
        known = CHAIN[:-1] if stage == "process" else CHAIN  # which ran before the lock's commit
        assert {key: run.data.params[key] for key in known}.items() <= facts.items(), stage
    (run,) = cloud.runs("train")
    job = cloud.describe(training)
    assert run.data.tags["sagemaker.training_job_name"] == training
    assert run.data.tags["sagemaker.training_job_arn"] == job["TrainingJobArn"]
    assert float(run.data.tags["sagemaker.billable_seconds"]) == job["BillableTimeInSeconds"]
    (whole,), (processed,) = cloud.runs("run"), cloud.runs("process")
    for tag in ("sagemaker.billable_seconds", "clew.cost_usd"):
        parts = [float(one.data.tags[tag]) for one in (processed, run)]
        assert float(whole.data.tags[tag]) == pytest.approx(sum(parts), rel=1e-3)
    assert float(run.data.tags["sagemaker.training_seconds"]) == job["TrainingTimeInSeconds"]
    tags = cloud.stand.boto3("sagemaker").list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {
        "clew:pipeline": cloud.name,
        **{f"clew:{key}": value for key, value in facts.items()},
    }
    assert [entry["Status"] for entry in job["SecondaryStatusTransitions"]][-1] == "Completed"


def _nothing_new(cloud: Cloud, before: dict[str, dict[str, str]]) -> None:
    """The same commit again pays for nothing."""
    answer = cloud.answer("run")
    assert answer["train"]["reused"]
    assert answer["register"]["version"] == before["register"]["version"]
    assert len(cloud.jobs("Processing")) == len(cloud.jobs("Training")) == 1
    assert len(cloud.versions()) == 1


def test_detached_it_returns_at_once_and_goes_on_when_asked_again(cloud: Cloud) -> None:
    cloud.stand.client.slow_start(seconds=3, job=f"{cloud.name}-*", times=2)
    left = cloud.clew("run", "--detach")
    (processing,) = cloud.jobs("Processing")
    assert left.returncode == 0, left.stderr
    assert f"the job {processing} goes on" in left.stderr
    assert f"clew wait {processing}" in left.stderr
    assert cloud.describe(processing, "Processing")["ProcessingJobStatus"] == "InProgress"
    waited = cloud.clew("wait", processing)
    assert waited.returncode == 0, waited.stderr
    assert "Completed" in waited.stdout
    left = cloud.clew("run", "--detach")
    (training,) = cloud.jobs()
    assert left.returncode == 0, left.stderr
    assert f"the job {training} goes on" in left.stderr
    assert cloud.clew("run", "--detach").returncode == 0
    cloud.run()
    assert cloud.jobs("Processing") == [processing]
    assert cloud.jobs() == [training]
    assert [len(cloud.runs(stage)) for stage in ("run", "process", "train")] == [1, 1, 1]
    assert len(cloud.versions()) == 1


def test_killed_while_its_job_runs_it_attaches_to_it(cloud: Cloud) -> None:
    cloud.stand.client.slow_start(seconds=5, job=f"{cloud.name}-train-*")
    process = cloud.start()
    until(lambda: bool(cloud.jobs()))
    process.kill()
    process.communicate()
    said = cloud.run()
    assert "attached to the running job" in said
    assert len(cloud.jobs()) == len(cloud.runs("train")) == len(cloud.versions()) == 1


def test_two_at_once_share_one_job(cloud: Cloud) -> None:
    other = Cloud(cloud.folder, cloud.stand, cloud.name, place="other")
    cloud.git("clone", "-q", "../origin.git", "../other")
    both = [cloud.start(), other.start()]
    for process in both:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    assert len(cloud.jobs("Processing")) == len(cloud.jobs()) == 1
    assert len(cloud.versions()) == 1
    packages = cloud.stand.boto3("sagemaker").list_model_packages(
        ModelPackageGroupName=f"{cloud.name}-model"
    )
    assert len(packages["ModelPackageSummaryList"]) == 1


def test_ctrl_c_without_a_terminal_leaves_the_job_working(cloud: Cloud) -> None:
    cloud.stand.client.slow_start(seconds=12, job=f"{cloud.name}-train-*")
    process = cloud.start()
    until(lambda: bool(cloud.jobs()))
    (training,) = cloud.jobs()
    until(lambda: bool(cloud.runs("train")))
    output = interrupt(process)
    assert process.returncode == 130, output
    assert f"the job {training} goes on" in output
    assert [run.info.status for run in cloud.runs("train")] == ["RUNNING"]
    assert "attached" in cloud.run()
    assert cloud.jobs() == [training]


def test_ctrl_c_stops_the_job_where_that_is_wished(cloud: Cloud) -> None:
    cloud.stand.client.slow_start(seconds=60, job=f"{cloud.name}-train-*")
    process = cloud.start("run", "--stop-on-interrupt")
    until(lambda: bool(cloud.jobs()))
    (training,) = cloud.jobs()
    output = interrupt(process)
    assert process.returncode == 130, output
    assert cloud.describe(training)["TrainingJobStatus"] == "Stopped"
    for stage in ("train", "run"):
        assert [run.info.status for run in cloud.runs(stage)] == ["KILLED"], stage
    cloud.run()
    assert cloud.jobs() == [training, f"{training[:-1]}2"]
    assert len(cloud.versions()) == 1


def test_hosts_that_train_together_give_one_result(new_cloud: Callable[..., Cloud]) -> None:
    cloud = new_cloud(PYTORCH)
    cloud.edit("pipeline.yaml", "count: 1,", "count: 2,")
    (cloud.work / "pipeline.yaml").write_text(
        (cloud.work / "pipeline.yaml").read_text() + "    distribution: torchrun\n"
    )
    (cloud.work / "stages/train.py").write_text(TOGETHER + MEET)
    cloud.commit("Together")
    cloud.run()
    (training,) = cloud.jobs()
    assert cloud.describe(training)["ResourceConfig"]["InstanceCount"] == 2
    log = cloud.log(training)
    assert "rank 0 of 2" in log
    assert "rank 1 of 2" in log
    assert "met rank 1" in log
    (run,) = cloud.runs("train")
    assert run.data.metrics == {"accuracy": 0.51, "n": 1}
    assert len(cloud.versions()) == 1


def test_a_framework_image_is_given_dvc(new_cloud: Callable[..., Cloud]) -> None:
    cloud = new_cloud('{framework: sklearn, version: "1.4-2"}')
    cloud.run()
    for kind in ("Processing", "Training"):
        described = cloud.describe(cloud.jobs(kind)[0], kind)
        assert "sagemaker-scikit-learn:1.4-2-cpu-py3" in json.dumps(described, default=str)
    (code,) = {key for key in cloud.objects("clew") if "/code/" in key} - _codes_of_training(cloud)
    place = {"Bucket": cloud.stand.s3_bucket, "Key": code}
    body = cloud.stand.boto3("s3").get_object(**place)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        requirements = archive.extractfile("packages.txt")
        assert requirements is not None
        assert requirements.read().decode() == job_requirements()


def _codes_of_training(cloud: Cloud) -> set[str]:
    (training,) = cloud.jobs()
    uri = cloud.describe(training)["HyperParameters"]["sagemaker_submit_directory"]
    return {json.loads(uri).removeprefix(f"s3://{cloud.stand.s3_bucket}/")}


def test_nothing_local_needs_an_aws_sdk(small: Small, tmp_path: Path) -> None:
    """Not even where one is installed: here importing one fails."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_AWS)
    environment = small.environment | {"PYTHONPATH": str(tmp_path)}
    for command in ("--help", "run", "resolve"):
        done = subprocess.run(
            [sys.executable, "-m", "clew", command],
            cwd=small.work,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
