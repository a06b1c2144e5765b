"""`clew jobs` and `clew wait`: which jobs there are, who waits for them, and leaving them alone."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.system.sagemaker.cloud import SKLEARN, Cloud, interrupt, until
from tests.system.small import Small

SLOW = 120  # seconds that a job stays in Starting; each test stops it or ends the stand


def listed(cloud: Cloud, *arguments: str) -> dict[str, dict[str, Any]]:
    return {job["name"]: job for job in cloud.answer("jobs", *arguments)}


def training(cloud: Cloud) -> str:
    """Start a training that takes long, and leave it."""
    cloud.stand.client.slow_start(seconds=SLOW, job=f"{cloud.name}-train-*")
    left = cloud.clew("run", "--detach")
    assert left.returncode == 0, left.stderr
    return cloud.jobs()[-1]


def status(cloud: Cloud, job: str) -> str:
    return str(cloud.describe(job)["TrainingJobStatus"])


def processed(cloud: Cloud) -> str:
    """Have the data made, without a word to anybody about its end."""
    cloud.run("--detach")
    (processing,) = cloud.jobs("Processing")
    assert cloud.clew("wait", processing).returncode == 0
    return processing


def test_only_a_job_without_a_run_is_reaped(cloud: Cloud) -> None:
    processing = processed(cloud)
    job = training(cloud)
    _shown(cloud, processing, job)
    _unknown_is_no_orphan(cloud, job)
    _without_its_mlflow_run(cloud, job)


@pytest.mark.slow
def test_a_job_is_waited_for_while_its_run_is_open_and_its_commit_is_there(cloud: Cloud) -> None:
    processed(cloud)
    _taken_up_again(cloud)
    _without_its_branch(cloud)


def _shown(cloud: Cloud, processing: str, job: str) -> None:
    _of_another_pipeline(cloud)
    found = listed(cloud)
    assert list(found) == [job, processing]
    assert found[processing]["waits"] == "ended"
    assert found[processing]["cost_usd"] > 0
    assert found[job]["status"] == "InProgress"
    assert found[job]["waits"] == "waited for"
    assert found[job]["commit"] == cloud.git("rev-parse", "HEAD")
    assert found[job]["run_id"] == cloud.runs("train")[0].info.run_id
    table = cloud.clew("jobs").stdout.splitlines()
    assert table[0].split()[:2] == ["job", "status"]
    assert [line.split()[0] for line in table[1:]] == [job, processing]
    cloud.stand.client.forget_calls()
    listed(cloud, "--all")
    described = [call for call in cloud.stand.client.calls() if call["service"] == "sagemaker"]
    assert [c["operation"] for c in described].count("DescribeProcessingJob") == 0  # has ended


def _of_another_pipeline(cloud: Cloud) -> None:
    """Whose name ends with this one's."""
    cloud.stand.boto3("sagemaker").create_training_job(
        TrainingJobName=f"other-{cloud.name}-train-{'a' * 12}-1",
        RoleArn=cloud.stand.role_arn,
        AlgorithmSpecification={"TrainingImage": SKLEARN, "TrainingInputMode": "File"},
        OutputDataConfig={"S3OutputPath": f"s3://{cloud.stand.s3_bucket}/other"},
        ResourceConfig={
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 5,
        },
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )


def _unknown_is_no_orphan(cloud: Cloud, job: str) -> None:
    """Neither where MLflow is away, nor where there is another one, which knows nothing."""
    away = dataclasses.replace(cloud, extra={"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})
    cloud.git("remote", "set-url", "origin", "../nowhere.git")
    for asked in (away, cloud):
        assert listed(asked)[job]["waits"] == "unknown"
        assert asked.answer("jobs", "--reap") == []
    cloud.git("remote", "set-url", "origin", "../origin.git")
    assert status(cloud, job) == "InProgress"


def _without_its_mlflow_run(cloud: Cloud, job: str) -> None:
    (run,) = cloud.runs("train")
    cloud.mlflow().delete_run(run.info.run_id)
    planned = listed(cloud, "--reap", "--dry-run")
    assert planned[job]["waits"] == "orphan"
    assert "was deleted" in planned[job]["reason"]
    assert planned[job]["commit"] == run.data.params["code_git_commit_id"]
    assert status(cloud, job) == "InProgress"
    cloud.stand.client.deny("sagemaker:StopTrainingJob", "*:user/clew-control")
    failed = cloud.clew("jobs", "--reap")
    cloud.stand.client.no_faults()
    assert failed.returncode == 4, failed.stdout + failed.stderr
    assert "lacks the right sagemaker:StopTrainingJob" in failed.stdout
    assert listed(cloud, "--reap")[job]["reaped"] == "stopped"
    assert status(cloud, job) == "Stopped"
    assert cloud.answer("jobs", "--reap") == []


def _taken_up_again(cloud: Cloud) -> None:
    """A run that was closed while its job went on is waited for as soon as somebody attaches."""
    job = training(cloud)
    (run,) = cloud.runs("train")
    cloud.mlflow().set_terminated(run.info.run_id, "FINISHED")  # as a stage may
    assert listed(cloud)[job]["waits"] == "waited for"
    cloud.mlflow().set_terminated(run.info.run_id, "KILLED")
    assert listed(cloud)[job]["waits"] == "orphan"
    assert cloud.clew("run", "--detach").returncode == 0
    assert listed(cloud)[job]["waits"] == "waited for"
    cloud.mlflow().set_terminated(run.info.run_id, "KILLED")
    assert listed(cloud, "--reap")[job]["reaped"] == "stopped"
    assert cloud.jobs() == [job]
    assert training(cloud) != job  # one that was stopped is no failure
    cloud.stand.boto3("sagemaker").stop_training_job(TrainingJobName=cloud.jobs()[-1])


def _without_its_branch(cloud: Cloud) -> None:
    cloud.git("checkout", "-q", "-b", "topic")
    cloud.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    cloud.commit("Topic")
    job = training(cloud)
    assert listed(cloud)[job]["waits"] == "waited for"
    cloud.git("push", "-q", "origin", "--delete", "topic")
    assert listed(cloud, "--reap")[job]["reaped"] == "stopped"
    run = cloud.mlflow().get_run(listed(cloud)[job]["run_id"])
    assert run.info.status == "KILLED"
    assert "no branch or tag" in run.data.tags["clew.failure"]
    cloud.edit("params.yaml", "lr: 0.6", "lr: 0.7")
    cloud.commit("Not pushed", push=False)
    unpushed = training(cloud)
    assert listed(cloud)[unpushed]["waits"] == "waited for"
    cloud.stand.boto3("sagemaker").stop_training_job(TrainingJobName=unpushed)


def test_many_jobs_are_waited_for_by_lists_and_left_alone(cloud: Cloud) -> None:
    processing = processed(cloud)
    job = training(cloud)
    for names in ([job], [processing, job]):
        process = cloud.start("wait", *names)
        assert process.stdout is not None
        process.stdout.readline()  # what the job is at
        output = interrupt(process)
        assert process.returncode == 130, output
        assert f"clew wait {' '.join(names)}" in output
    assert status(cloud, job) == "InProgress"
    cloud.stand.client.forget_calls()
    process = cloud.start("wait", processing, job, "--json")
    until(lambda: _asked(cloud).count("ListTrainingJobs") >= 3)
    assert _asked(cloud).count("DescribeTrainingJob") == 1  # that it is there
    cloud.stand.boto3("sagemaker").stop_training_job(TrainingJobName=job)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 4
    assert '"status": "Completed"' in output
    assert '"status": "Stopped"' in output
    _at_most_two_a_second(cloud)


def _asked(cloud: Cloud) -> list[str]:
    return [call["operation"] for call in cloud.stand.client.calls()]


def _at_most_two_a_second(cloud: Cloud) -> None:
    """Over all that run at once, where no free moments are kept any more."""
    shared = cloud.folder / "home/.cache/clew/sagemaker-calls"
    shared.write_text(str(time.monotonic() + 12))  # others have taken all until then
    cloud.stand.client.forget_calls()
    both = [cloud.start("jobs", "--all") for _ in range(2)]
    for process in both:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    times = [
        call["time"]
        for call in cloud.stand.client.calls()
        if call["service"] == "sagemaker" and call["operation"].startswith(("Describe", "List"))
    ]
    assert len(times) >= 4
    assert all(third - first > 0.8 for first, third in zip(times, times[2:], strict=False))


def test_ctrl_c_on_wait_leaves_a_local_job_working(small: Small) -> None:
    small.edit("stages/prepare.py", "import yaml", "import time, yaml; time.sleep(6)")
    small.commit("Slow")
    left = small.answer("run", "--detach")
    process = subprocess.Popen(
        [sys.executable, "-m", "clew", "wait", left["detached"]],
        cwd=small.work,
        env=small.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert "goes on" in output
    assert small.answer("wait", left["detached"])["status"] == "Completed"


def test_jobs_that_cost_nothing_are_not_listed(small: Small) -> None:
    done = small.clew("jobs")
    assert done.returncode == 2
    assert "--executor sagemaker" in done.stderr
