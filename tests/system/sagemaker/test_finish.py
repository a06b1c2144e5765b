"""What CodeBuild goes on with once a job has ended: all that waits for it, as it was asked for."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

from tests.system.sagemaker.cloud import Cloud, until

ROOT = Path(__file__).parents[3]


def ended(cloud: Cloud, job: str, kind: str) -> None:
    """Do what buildspec.yml does at the end of a job, in a clone of its own."""
    until(lambda: cloud.describe(job, kind)[f"{kind}JobStatus"] == "Completed")
    build = dataclasses.replace(
        cloud,
        place=f"build-{job}",
        extra={"CLEW_JOB_ARN": cloud.describe(job, kind)[f"{kind}JobArn"]},
    )
    cloud.git("clone", "-q", str(cloud.origin), str(build.work), cwd=cloud.folder)
    command = [sys.executable, str(ROOT / "infra/finish.py")]
    done = subprocess.run(
        command, cwd=build.work, env=build.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr + cloud.all_logs()


def test_two_dispatches_that_met_at_one_job_end_as_each_was_asked_for(cloud: Cloud) -> None:
    cloud.stand.client.slow_start(seconds=12, job=f"{cloud.name}-process-*")
    other = ("--param", "train.lr=0.6", "--instance", "ml.m5.xlarge")
    for asked in (("--reason", "plain"), (*other, "--reason", "audit")):
        done = cloud.clew("dispatch", *asked)
        assert done.returncode == 0, done.stderr
        assert "goes on" in done.stdout
    (processing,) = cloud.jobs("Processing")
    ended(cloud, processing, "Processing")
    described = [cloud.describe(job) for job in cloud.jobs()]
    assert {
        (job["HyperParameters"]["train.lr"], job["ResourceConfig"]["InstanceType"])
        for job in described
    } == {("0.5", "ml.m5.large"), ("0.6", "ml.m5.xlarge")}
    for job in cloud.jobs():
        until(lambda job=job: cloud.describe(job)["TrainingJobStatus"] == "Completed")  # type: ignore[misc]
    ended(cloud, cloud.jobs()[0], "Training")
    assert (len(cloud.jobs("Processing")), len(cloud.jobs()), len(cloud.versions())) == (1, 2, 2)
    for stage in ("train", "run"):
        runs = cloud.runs(stage)
        assert {
            (run.data.params["train.lr"], run.data.tags["clew.reason"], run.info.status)
            for run in runs
        } == {("0.5", "plain", "FINISHED"), ("0.6", "audit", "FINISHED")}
    assert cloud.runs("request") == []
