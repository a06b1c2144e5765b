"""The workflow files on the rehearsed AWS: a push leaves its job, the schedule goes on with it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

pytest.importorskip("github", reason="the extra `forges` is not installed")

from tests.forge.github_stub import GitHubStub, served
from tests.system.ci import events
from tests.system.ci.act import ACT, Ran, Workflows, on_github, pull_request, put_workflows
from tests.system.ci.events import NONE
from tests.system.ci.once import SHORT, Left, branches_and_tags, exactly_once, made_for
from tests.system.sagemaker.cloud import Cloud, until

pytestmark = pytest.mark.skipif(not ACT.exists(), reason="the extra `dev` is not installed")


def on_runners(cloud: Cloud) -> Workflows:
    put_workflows(cloud.folder)
    assert cloud.stand.mlflow is not None
    return Workflows(cloud.folder, told=cloud.stand.environment, uri=cloud.stand.mlflow.uri)


def running(cloud: Cloud, kind: str) -> list[str]:
    listed = getattr(cloud.stand.boto3("sagemaker"), f"list_{kind.lower()}_jobs")
    found = listed(NameContains=f"{cloud.name}-", StatusEquals="InProgress")
    return [row[f"{kind}JobName"] for row in found[f"{kind}JobSummaries"]]


def left_by(cloud: Cloud) -> Left:
    """Return what is on the stand and in the origin: jobs as SageMaker lists them."""
    offered, tags = branches_and_tags(cloud)
    return Left(
        trainings=[made_for(name) for name in cloud.jobs()],
        processings=[made_for(name) for name in cloud.jobs("Processing")],
        versions=[version.tags["run_fingerprint"][:SHORT] for version in cloud.versions()],
        data=tags,
        open=[run.info.run_name for run in cloud.runs("run") if run.info.status == "RUNNING"],
        offered=offered,
    )


@pytest.fixture
def stub() -> Iterator[GitHubStub]:
    with served(GitHubStub()) as github:
        yield github


def faster(cloud: Cloud, lr: float = 0.6) -> str:
    """Push other parameters on the branch `feature`; return the commit."""
    cloud.git("checkout", "-qb", "feature")
    cloud.edit("params.yaml", "lr: 0.5", f"lr: {lr}")
    return cloud.commit("Faster")


def state_of(stub: GitHubStub, commit: str) -> str:
    """Return the commit's last status."""
    found: str = [one["state"] for one in stub.statuses if one["sha"] == commit][-1]
    return found


def finished(cloud: Cloud, forge: Workflows) -> Ran:
    """Wait until no job runs any more, then let the schedule go on."""
    until(lambda: not running(cloud, "Training") and not running(cloud, "Processing"))
    return forge.schedule()


def test_jobs_are_left_and_the_schedule_goes_on(cloud: Cloud) -> None:
    forge = on_runners(cloud)
    ran = forge.push(NONE)
    assert ran.code == 0, ran.log
    assert "goes on; the schedule takes it up again" in ran.said
    assert len(cloud.jobs("Processing")) == 1
    assert cloud.versions() == []
    ran = finished(cloud, forge)
    assert ran.code == 0, ran.log
    assert len(cloud.jobs()) == 1, "the data is there, so the training has begun"
    ran = finished(cloud, forge)
    assert ran.code == 0, ran.log
    (version,) = cloud.versions()
    assert "production" in cloud.mlflow().get_model_version(version.name, "1").aliases
    assert (len(cloud.jobs("Processing")), len(cloud.jobs())) == (1, 1)


def test_a_dispatch_is_finished_with_what_it_was_asked_for(cloud: Cloud) -> None:
    cloud.run()
    forge = on_runners(cloud)
    inputs = {"params": "train.lr=0.7", "instance": "ml.m5.xlarge", "reason": "More"}
    ran = forge.run("clew.yml", "workflow_dispatch", {"ref": "refs/heads/main", "inputs": inputs})
    assert ran.code == 0, ran.log
    job = cloud.describe(cloud.jobs()[-1])
    assert job["ResourceConfig"]["InstanceType"] == "ml.m5.xlarge"
    assert len(cloud.versions()) == 1
    ran = finished(cloud, forge)
    assert ran.code == 0, ran.log
    assert len(cloud.versions()) == 2
    assert len(cloud.jobs()) == 2
    (run,) = [run for run in cloud.runs("train") if run.data.params["train.lr"] == "0.7"]
    assert (run.data.tags["clew.reason"], run.data.metrics["accuracy"]) == ("More", 0.75)


def test_what_a_person_stopped_no_schedule_starts_again(cloud: Cloud) -> None:
    cloud.run()
    cloud.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    cloud.edit("stages/train.py", "import json", "import time; time.sleep(60)\nimport json")
    before = cloud.git("rev-parse", "HEAD")
    cloud.commit("Slow")
    assert events.pushed(cloud, before).clew("ci").returncode == 0
    job = cloud.jobs()[-1]
    cloud.stand.boto3("sagemaker").stop_training_job(TrainingJobName=job)
    until(lambda: cloud.describe(job)["TrainingJobStatus"] == "Stopped")
    first = cloud.clew("reconcile")
    assert first.returncode == 4, first.stdout + first.stderr
    again = cloud.clew("reconcile")
    assert again.returncode == 0, again.stdout
    assert again.stdout.startswith("left ")
    assert cloud.jobs()[-1] == job


def test_a_pull_request_whose_push_is_killed_and_run_again(cloud: Cloud, stub: GitHubStub) -> None:
    cloud.run()
    forge = on_github(on_runners(cloud), stub)
    head = faster(cloud)
    stub.open_pull(7, "feature", head)
    assert forge.run("report.yml", "pull_request", pull_request(forge, "opened")).code == 0
    (body,) = stub.bodies(7)
    assert "no model of" in body
    event = {"ref": "refs/heads/feature", "before": NONE, "after": head}
    killed = forge.start("clew.yml", "push", event)
    until(lambda: len(cloud.jobs()) == 2)
    subprocess.run(["pkill", "-KILL", "-f", str(cloud.folder)], check=False)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    ran = forge.push(NONE, "feature")
    assert ran.code == 0, ran.log
    assert len(cloud.jobs()) == 2, "the same job is taken up"
    ran = finished(cloud, forge)
    assert ran.code == 0, ran.log
    ran = forge.run("report.yml", "pull_request", pull_request(forge, "synchronize"))
    assert ran.code == 0, ran.log
    assert "gates passed; better than the base" in stub.bodies(7)[0]
    assert state_of(stub, head) == "success"
    exactly_once(left_by(cloud), versions=2, data=1, comments=stub.bodies(7))


def test_a_squash_merge_promotes_without_a_job(cloud: Cloud) -> None:
    cloud.run()
    main = cloud.git("rev-parse", "HEAD")
    faster(cloud)
    cloud.run()
    cloud.git("checkout", "-q", "main")
    cloud.git("merge", "-q", "--squash", "feature")
    cloud.commit("All of it")
    cloud.git("push", "-q", "origin", ":feature")
    ran = on_runners(cloud).push(main)
    assert ran.code == 0, ran.log
    assert "reused: MLflow run" in ran.said
    newest = cloud.mlflow().get_model_version(f"{cloud.name}-model", "2")
    assert sorted(newest.aliases) == ["candidate", "production"]
    exactly_once(left_by(cloud), versions=2, data=1)


def test_words_and_a_forks_pull_request_start_no_job(cloud: Cloud, stub: GitHubStub) -> None:
    cloud.run()
    forge = on_github(on_runners(cloud), stub)
    before = cloud.git("rev-parse", "HEAD")
    (cloud.work / "README.md").write_text("# Words\n")
    words = cloud.commit("Words")
    ran = forge.push(before)
    assert ran.code == 0, ran.log
    assert "nothing that data or model depend on changed" in ran.said
    assert state_of(stub, words) == "success"
    stub.rights = {"read"}
    stub.open_pull(7, "feature", faster(cloud), fork=True)
    event = pull_request(forge, "opened", of="stranger/it")
    ran = forge.run("report.yml", "pull_request", event)
    assert ran.code == 0, ran.log
    assert "configuration and data only" in ran.log
    assert stub.bodies(7) == []
    exactly_once(left_by(cloud), versions=1, data=1)
