"""The two edges that SageMaker's lineage can't infer: data version → job, and job → MLflow run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from clew import lineage
from clew.context import Context
from clew.identity import RunId

JOB = "sagemaker.training_job_arn"
DATA = (
    *("data_git_commit_id", "data_version", "data_fingerprint"),
    *("dvc_repo_url", "dvc_remote_url"),
)


@dataclass(frozen=True)
class Entity:
    """What an artifact of SageMaker's lineage stands for: the same source is the same artifact."""

    kind: str  # ArtifactType
    name: str
    source: str  # URI
    properties: Mapping[str, str]


class LineageGraph(Protocol):
    """SageMaker ML Lineage Tracking."""

    def link(self, data: Entity, job_arn: str, run: Entity) -> None:
        """Make the artifacts and edges data → job → run that are not there yet."""


def record_edges(context: Context, run_id: RunId) -> None:
    """Write the edges of a training run; nothing for one that was no SageMaker job."""
    run = context.tracker.run(run_id)
    if context.graph is None or run is None or JOB not in run.tags:
        return
    params = run.params
    data = Entity(
        kind="DataSet",
        name=params["data_version"].replace("/", "-"),
        source=f"git:{params['data_git_commit_id']}",
        properties={name: params[name] for name in DATA},
    )
    tracked = Entity(
        kind="MLflowRun",
        name=f"mlflow-run-{run_id}",
        source=f"runs:/{run_id}",
        properties={name: params[name] for name in lineage.NAMES},
    )
    context.graph.link(data, run.tags[JOB], tracked)
