"""What a step works with: the pipeline as the commit has it, and the outside systems."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clew.config.model import Pipeline
from clew.identity import CommitSha
from clew.ports import DataStore, Executor, Reporter, Tracker
from clew.project import Project

if TYPE_CHECKING:
    from clew.consent.registry import Registry
    from clew.edges import LineageGraph
    from clew.log import Log
    from clew.packages import ModelPackages
    from clew.serving import Endpoints


@dataclass(frozen=True)
class Context:
    project: Project
    pipeline: Pipeline
    store: DataStore
    executor: Executor
    tracker: Tracker
    reporter: Reporter
    log: Log
    state: Path  # `.clew`: bundles, local jobs and the embedded MLflow store
    packages: ModelPackages | None = None  # where pipeline.yaml has executor.sagemaker
    graph: LineageGraph | None = None
    endpoints: Endpoints | None = None
    consent: Registry | None = None  # the database, where consent is kept in one

    @property
    def workdir(self) -> Path:
        """The folder of pipeline.yaml in the working tree."""
        return self.project.repository.root / self.project.folder

    def read(self, commit: CommitSha, *paths: str) -> list[bytes | None]:
        """Return the bytes of the pipeline's files at a commit, None where one is missing."""
        names = [self.project.path(path) for path in paths]
        found = self.project.repository.read(commit, names)
        return [found[name] for name in names]
