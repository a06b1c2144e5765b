"""What a scenario left behind, and that each piece of it exists exactly once."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from tests.system.small import Small

FINISHED = """
    SELECT stage.value, job.value FROM runs
    JOIN tags AS stage ON stage.run_uuid = runs.run_uuid AND stage.key = 'clew.stage'
    JOIN tags AS job ON job.run_uuid = runs.run_uuid AND job.key = ?
    WHERE runs.lifecycle_stage = 'active' AND runs.status = 'FINISHED' AND stage.value = ?
"""
OPEN = "SELECT name FROM runs WHERE lifecycle_stage = 'active' AND status = 'RUNNING'"
VERSIONS = """
    SELECT tag.value FROM model_versions AS version
    JOIN model_version_tags AS tag ON tag.name = version.name AND tag.version = version.version
    WHERE version.current_stage != 'Deleted_Internal' AND tag.key = 'run_fingerprint'
"""
SHORT = 12  # digits of a fingerprint in the names of jobs and tags


@dataclass(frozen=True)
class Left:
    """What exists, each by what it was made for, so that a second one is a repetition."""

    trainings: Sequence[str]  # run fingerprints, one for each job
    processings: Sequence[str]
    versions: Sequence[str]  # run fingerprints, one for each model version
    data: Sequence[str]  # data version tags
    open: Sequence[str] = ()  # runs that MLflow holds open
    offered: Sequence[str] = ()  # branches `clew/…`


def exactly_once(
    left: Left, *, versions: int, data: int, comments: Sequence[str] = ("",), at_once: int = 1
) -> None:
    """Hold that so many models and data versions exist, by one job each, and one comment.

    `at_once`: on so many machines the data may have been made before one of them had pushed it.
    """
    for name in ("trainings", "processings", "versions", "data"):
        rows = getattr(left, name)
        assert len(set(rows)) == len(rows), f"{name} twice: {rows}"
    assert (len(left.versions), len(left.data)) == (versions, data), left
    assert sorted(left.trainings) == sorted(left.versions), "a job for each model, and no other"
    spare = at_once - 1
    assert data <= len(left.processings) <= data + spare, "a job for each data version"
    assert (list(left.open), list(left.offered)) == ([], [])
    assert len(comments) == 1, comments


def branches_and_tags(small: Small) -> tuple[list[str], list[str]]:
    """Return the branches that clew offers, and the data version tags."""
    names = small.git("for-each-ref", "--format=%(refname)", cwd=small.origin).split()
    offered = [name for name in names if name.startswith("refs/heads/clew/")]
    return offered, [name for name in names if name.startswith("refs/tags/data/")]


def left_by(small: Small) -> Left:
    """Return what is in the origin and in the pipeline's MLflow database."""
    offered, tags = branches_and_tags(small)
    with closing(sqlite3.connect(small.work / ".clew/mlflow.db")) as database:
        rows = database.execute
        return Left(
            trainings=[made_for(job) for _, job in rows(FINISHED, ("clew.job", "train"))],
            processings=[key[:SHORT] for _, key in rows(FINISHED, ("clew.key", "process"))],
            versions=[fingerprint[:SHORT] for (fingerprint,) in rows(VERSIONS)],
            data=tags,
            open=[name for (name,) in rows(OPEN)],
            offered=offered,
        )


def made_for(job: str) -> str:
    """Return the fingerprint in a job's name, whichever attempt it was."""
    return job.rsplit("-", 2)[1]
