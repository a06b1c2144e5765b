"""The small pipeline with its data, its jobs and its MLflow runs on the stand's AWS."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.system.small import Small

if TYPE_CHECKING:
    from tests.stand import Stand

SKLEARN = f"141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn@sha256:{'a' * 64}"
PYTORCH = f"763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch-training@sha256:{'b' * 64}"
EXECUTOR = """\
executor:
  use: sagemaker
  sagemaker:
    role: {role}
    region: {region}
    s3_prefix: s3://{bucket}/{name}/clew
    image: {image}
    instance: {{type: ml.m5.large, count: 1, volume_gb: 5}}
    max_runtime_hours: 1
"""
GROUPS = {"Training": "/aws/sagemaker/TrainingJobs", "Processing": "/aws/sagemaker/ProcessingJobs"}


@dataclass(frozen=True)
class Cloud(Small):
    """One pipeline of a name of its own, which keeps it apart from all others on the stand."""

    stand: Stand
    name: str
    extra: Mapping[str, str] = field(default_factory=dict)  # more variables for clew
    place: str = "work"  # the folder of the clone

    @property
    def work(self) -> Path:
        return self.folder / self.place

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **self.stand.environment, **self.extra}

    @property
    def experiment(self) -> str:
        return self.name

    # --- clew --------------------------------------------------------------------------------

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the real command, without a terminal."""
        return subprocess.Popen(
            [sys.executable, "-m", "clew", *(arguments or ("run",))],
            cwd=self.work,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        """Run `clew run`, which must succeed; return what it said on standard error."""
        done = self.clew("run", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr + self.all_logs()
        return done.stderr

    # --- AWS ---------------------------------------------------------------------------------

    def jobs(self, kind: str = "Training") -> list[str]:
        """Return the names of this pipeline's jobs, the oldest first."""
        client = self.stand.boto3("sagemaker")
        pages = client.get_paginator(f"list_{kind.lower()}_jobs").paginate(
            NameContains=f"{self.name}-", SortBy="CreationTime", SortOrder="Ascending"
        )
        return [row[f"{kind}JobName"] for page in pages for row in page[f"{kind}JobSummaries"]]

    def describe(self, name: str, kind: str = "Training") -> dict[str, Any]:
        describe = getattr(self.stand.boto3("sagemaker"), f"describe_{kind.lower()}_job")
        found: dict[str, Any] = describe(**{f"{kind}JobName": name})
        return found

    def log(self, name: str, kind: str = "Training") -> str:
        client = self.stand.boto3("logs")
        try:
            found = client.filter_log_events(
                logGroupName=GROUPS[kind], logStreamNamePrefix=f"{name}/"
            )
        except client.exceptions.ResourceNotFoundException:
            return ""
        return "\n".join(event["message"] for event in found["events"])

    def all_logs(self) -> str:
        return "\n".join(self.log(name, kind) for kind in GROUPS for name in self.jobs(kind))

    def objects(self, folder: str = "dvc") -> list[str]:
        """Return the keys below a folder of this pipeline."""
        pages = self.stand.boto3("s3").get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.stand.s3_bucket, Prefix=f"{self.name}/{folder}/")
        return [row["Key"] for page in found for row in page.get("Contents", ())]

    def data_object(self, path: str) -> str:
        """Return the key of the object that holds a file of the prepared data."""
        md5 = {file["relpath"]: file["md5"] for file in self.listing()}[path]
        return f"{self.name}/dvc/files/md5/{md5[:2]}/{md5[2:]}"

    def listing(self) -> list[dict[str, str]]:
        """Return DVC's list of the prepared data's files, from S3."""
        client, bucket = self.stand.boto3("s3"), self.stand.s3_bucket
        (key,) = [key for key in self.objects() if key.endswith(".dir")]
        rows: list[dict[str, str]] = json.load(client.get_object(Bucket=bucket, Key=key)["Body"])
        return rows

    # --- MLflow ------------------------------------------------------------------------------

    def mlflow(self) -> Any:
        from mlflow import MlflowClient

        assert self.stand.mlflow is not None
        return MlflowClient(self.stand.mlflow.uri, registry_uri=self.stand.mlflow.uri)

    def runs(self, stage: str) -> list[Any]:
        client = self.mlflow()
        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None:
            return []
        found = client.search_runs([experiment.experiment_id], f"tags.`clew.stage` = '{stage}'")
        return list(found)

    def versions(self) -> list[Any]:
        found = self.mlflow().search_model_versions(f"name = '{self.name}-model'")
        return sorted(found, key=lambda version: int(version.version))


def make_cloud(fresh: Small, folder: Path, stand: Stand, name: str, image: str = SKLEARN) -> Cloud:
    """Return a copy of the small pipeline that keeps its data and runs its jobs on the stand."""
    shutil.copytree(fresh.folder, folder, symlinks=True)
    cloud = Cloud(folder, stand, name)
    cloud.dvc("remote", "modify", "storage", "url", f"s3://{stand.s3_bucket}/{name}/dvc")
    assert stand.mlflow is not None
    cloud.edit("pipeline.yaml", "name: small\n", f"name: {name}\n")
    cloud.edit("pipeline.yaml", "sqlite:///.clew/mlflow.db", stand.mlflow.uri)
    cloud.edit(
        "pipeline.yaml",
        "experiment: small, model: small-model",
        f"experiment: {name}, model: {name}-model",
    )
    executor = EXECUTOR.format(
        role=stand.role_arn, region=stand.region, bucket=stand.s3_bucket, name=name, image=image
    )
    (cloud.work / "pipeline.yaml").open("a").write(executor)
    cloud.commit("Run on SageMaker")
    return cloud


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def interrupt(process: subprocess.Popen[str]) -> str:
    """Send Ctrl-C; return all that the process said."""
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    return output
