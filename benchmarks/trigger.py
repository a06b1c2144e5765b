"""From a push to the submitted job, and what a push costs that changes nothing.

`python -m benchmarks.trigger`, with the stand's packages (`make .venv/stand-ready`). On the
example, its jobs on the rehearsed AWS. The baseline does by hand what a submission can't do
without: read the commit, ask DVC what is stale, upload the source, open a run in MLflow, create
the job.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from demo.rehearsal import add_executor
from tests.forge.github_stub import REPOSITORY, TOKEN, GitHubStub, served
from tests.stand import Stand

HERE = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ROUNDS = 3
BARE = """
import boto3, mlflow, sys, uuid
name = f"bare-{uuid.uuid4().hex[:12]}"
client = mlflow.MlflowClient()
experiment = client.create_experiment(name)
run = client.create_run(experiment)
client.log_param(run.info.run_id, "commit", sys.argv[1])
boto3.client("s3").upload_file(sys.argv[2], sys.argv[3], f"bare/{name}.tar")
sagemaker = boto3.client("sagemaker")
sagemaker.list_training_jobs(NameContains=name)
sagemaker.create_training_job(
    TrainingJobName=name, RoleArn=sys.argv[4],
    AlgorithmSpecification={"TrainingImage": sys.argv[5], "TrainingInputMode": "File"},
    OutputDataConfig={"S3OutputPath": f"s3://{sys.argv[3]}/bare"},
    ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
    StoppingCondition={"MaxRuntimeInSeconds": 600},
)
sagemaker.stop_training_job(TrainingJobName=name)
"""
STATUS = """
import json, sys, urllib.request
urllib.request.urlopen(urllib.request.Request(
    sys.argv[1], headers={"Authorization": f"token {sys.argv[2]}"},
    data=json.dumps({"state": "success", "context": "clew/fashion"}).encode(),
))
"""
MATTERS = ("pipeline.yaml", "dvc.yaml", "dvc.lock", "params.yaml", "data", "scripts/stages")


class Bench:
    """A clone of this repository whose jobs run on a stand."""

    def __init__(self, folder: Path, stand: Stand, forge: GitHubStub) -> None:
        assert stand.mlflow is not None
        self.work, self.stand, self.folder = folder / "work", stand, folder
        self.api = forge.url
        home = folder / "home"
        home.mkdir()
        self.environment = {
            **os.environ,
            **stand.environment,
            "HOME": str(home),
            "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
            "MLFLOW_TRACKING_URI": stand.mlflow.uri,
            "CLEW_EXECUTOR": "sagemaker",
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": "push",
            "GITHUB_EVENT_PATH": str(folder / "event.json"),
            "GITHUB_API_URL": forge.url,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_TOKEN": TOKEN,
            **{
                f"GIT_{role}_{key}": value
                for role in ("AUTHOR", "COMMITTER")
                for key, value in (("NAME", "Benchmark"), ("EMAIL", "benchmark@example.org"))
            },
        }

    def run(self, *command: str | Path, codes: tuple[int, ...] = (0,)) -> float:
        """Run a command; return its wall time in seconds."""
        started = time.perf_counter()
        words = [str(word) for word in command]
        done = subprocess.run(
            words, cwd=self.work, env=self.environment, capture_output=True, text=True
        )
        if done.returncode not in codes:
            sys.exit(f"{words} failed:\n{done.stdout}{done.stderr}")
        return time.perf_counter() - started

    def prepare(self) -> None:
        origin = self.folder / "origin.git"
        for options, source, target in ((["--bare"], HERE, origin), ([], origin, self.work)):
            subprocess.run(["git", "clone", "-q", *options, source, target], check=True)
        self.run("git", "checkout", "-q", "-B", "main")
        url = f"s3://{self.stand.s3_bucket}/dvc"
        self.run("dvc", "remote", "modify", "storage", "url", url)
        self.image = self.stand.push_image("clew-jobs", "1")
        self.stand.push_image("mlflow-pyfunc", version("mlflow"))
        add_executor(self.work / "pipeline.yaml", self.stand, self.image)
        self.commit("On SageMaker")
        self.run("clew", "process", "--force")

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)
        self.run("git", "push", "-q", "origin", "HEAD:main")

    def push(self, path: str, text: str) -> tuple[float, float | None]:
        """Push a change; return how long `clew ci` takes, and when its job was there."""
        before = self.head()
        with (self.work / path).open("a") as file:
            file.write(text)
        self.commit(f"Change {path}")
        event = {"ref": "refs/heads/main", "before": before, "after": self.head()}
        (self.folder / "event.json").write_text(json.dumps(event))
        self.stand.client.forget_calls()
        began = time.time()
        wall = self.run("clew", "ci")
        times = [
            float(call["time"])
            for call in self.stand.client.calls()
            if call["operation"] == "CreateTrainingJob"
        ]
        return wall, times[0] - began if times else None

    def head(self) -> str:
        words = ["git", "rev-parse", "HEAD"]
        return subprocess.run(
            words, cwd=self.work, capture_output=True, text=True, check=True
        ).stdout.strip()

    def bare(self) -> float:
        """Return how long the same takes by hand, without lineage, fingerprints or checks."""
        source = self.folder / "source.tar"
        wall = self.run("git", "archive", "--output", source, "HEAD")
        wall += self.run("dvc", "status", "--quiet", "prepare", codes=(0, 1))
        role, bucket = self.stand.role_arn, self.stand.s3_bucket
        arguments = (self.head(), source, bucket, role, self.image)
        return wall + self.run(sys.executable, "-c", BARE, *arguments)

    def bare_nothing(self) -> float:
        """Return how long it takes to see that nothing matters, and to say so on the commit."""
        wall = self.run("git", "diff", "--quiet", "HEAD~1", "HEAD", "--", *MATTERS)
        url = f"{self.api}/repos/{REPOSITORY}/statuses/{self.head()}"
        return wall + self.run(sys.executable, "-c", STATUS, url, TOKEN)


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        Stand(Path(name) / "stand", mlflow=True) as stand,
        served(GitHubStub()) as forge,
    ):
        bench = Bench(Path(name), stand, forge)
        bench.prepare()
        walls, submitted, bare, nothing, bare_nothing = [], [], [], [], []
        for number in range(ROUNDS):
            wall, there = bench.push("scripts/stages/train.py", f"# {number}\n")
            walls.append(wall)
            submitted.append(there or float("nan"))
            bare.append(bench.bare())
            nothing.append(bench.push("CHANGELOG.md", f"- {number}\n")[0])
            bare_nothing.append(bench.bare_nothing())
        show("a push that trains: trigger to job created", submitted)
        show("the same: until clew ci has left", walls)
        show("by hand: archive, dvc status, MLflow run, upload, create", bare)
        show("a push that changes nothing of it: clew ci", nothing)
        show("by hand: git diff, a status", bare_nothing)


def show(title: str, seconds: list[float]) -> None:
    print(f"{title:<58} {statistics.median(seconds):>6.2f} s", flush=True)


if __name__ == "__main__":
    main()
