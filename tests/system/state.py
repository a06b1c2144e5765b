"""All that a run leaves outside, read without clew, so that two end states can be compared."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from typing import Any

from tests.system.small import Small

RUNS = """
    SELECT stage.value, runs.status FROM runs
    JOIN tags AS stage ON stage.run_uuid = runs.run_uuid AND stage.key = 'clew.stage'
    WHERE runs.lifecycle_stage = 'active'
"""
LINEAGE = """
    SELECT stage.value, params.key, params.value FROM params
    JOIN runs ON runs.run_uuid = params.run_uuid AND runs.lifecycle_stage = 'active'
    JOIN tags AS stage ON stage.run_uuid = runs.run_uuid AND stage.key = 'clew.stage'
"""
PARENTS = """
    SELECT child.value, parent.value FROM tags
    JOIN tags AS child ON child.run_uuid = tags.run_uuid AND child.key = 'clew.stage'
    JOIN tags AS parent ON parent.run_uuid = tags.value AND parent.key = 'clew.stage'
    WHERE tags.key = 'mlflow.parentRunId'
"""
VERSIONS = "SELECT version FROM model_versions WHERE current_stage != 'Deleted_Internal'"
VERSION_TAGS = f"""
    SELECT version, key, value FROM model_version_tags WHERE version IN ({VERSIONS})
"""


def end_state(small: Small) -> dict[str, Any]:
    """Return tags, branches, jobs, objects, MLflow runs, versions and aliases."""
    refs = small.git("for-each-ref", "--format=%(refname) %(objectname)", cwd=small.origin)
    return {
        "origin": [row for row in refs.splitlines() if not row.startswith("refs/clew/")],
        "log": logged(small),
        "head": small.git("rev-parse", "HEAD"),
        "dirty": small.git("status", "--porcelain"),
        "jobs": sorted(path.name for path in (small.work / ".clew/jobs").glob("small-*")),
        "objects": sorted(path.name for path in small.storage.rglob("*") if path.is_file()),
        **tracked(small),
    }


def logged(small: Small) -> list[str]:
    """Return what the log in the origin says was seen, without times and MLflow's own ids."""
    which = ("--glob=refs/clew/log/*", "--reverse", "--format=%s")
    rows = small.git("log", *which, cwd=small.origin)
    return [" ".join(row.split()[:2]) for row in rows.splitlines()]


def tracked(small: Small) -> dict[str, Any]:
    """Return what MLflow holds, straight from its database."""
    here = str(small.folder)
    with closing(sqlite3.connect(small.work / ".clew/mlflow.db")) as database:
        rows = database.execute
        return {
            "runs": Counter(rows(RUNS)),
            "lineage": sorted((*row, value.replace(here, "")) for *row, value in rows(LINEAGE)),
            "parents": sorted(rows(PARENTS)),
            "versions": [row[0] for row in rows(VERSIONS)],
            "version tags": sorted(rows(VERSION_TAGS)),
            "aliases": sorted(rows("SELECT alias, version FROM registered_model_aliases")),
            "metrics": sorted(rows("SELECT key, value FROM latest_metrics")),
        }
