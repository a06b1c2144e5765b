"""clew init in repositories of different shapes, each of which then runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.adopting import MATRIX, NESTED, SINGLE, adopting, init, pipeline, states
from tests.system.small import Small


def runs(there: Small, *where: str) -> None:
    """Adopt clew, commit that, and have the whole flow run."""
    done = init(there, "--yes", "--forge", "github", *where)
    assert done.returncode == 0, done.stderr
    there.commit("Adopt clew")
    checked = there.clew("check", *where)
    ran = there.clew("run", *where)
    assert ran.returncode == 0, ran.stderr
    assert "production" in ran.stdout, ran.stdout
    assert "FAIL" not in checked.stdout, checked.stdout
    assert set(states(there, "--forge", "github", *where).values()) == {"same", "kept"}


@pytest.mark.slow
def test_raw_data_added_and_three_stages(tmp_path: Path) -> None:
    there = adopting(tmp_path, NESTED, "raw")
    there.dvc("repro", "-q")
    there.dvc("push", "-q")
    there.commit("Reproduced")
    runs(there)
    found = pipeline(there)
    assert found["data"] == {"stages": ["prepare"], "outputs": ["data"], "remote": "storage"}
    assert found["train"]["stages"] == ["fit", "evaluate"]
    assert found["train"]["model"] == "model"
    declared = {"path": "metrics.json", "higher": ["test.accuracy"], "lower": ["test.loss"]}
    assert found["train"]["metrics"] == [declared]
    assert found["gates"] == [{"metric": "test.accuracy", "max_regression": 0.02}]
    assert found["code"] == {"paths": ["src"], "lock": "poetry.lock"}
    assert found["promotion"] == {"branch": "trunk"}
    assert "verify = true" in (there.work / ".dvc/config").read_text()


@pytest.mark.slow
def test_a_single_stage_that_reads_added_data(tmp_path: Path) -> None:
    there = adopting(tmp_path, SINGLE, "data")
    runs(there)
    found = pipeline(there)
    assert found["data"] == {"stages": [], "outputs": ["data"], "remote": "storage"}
    assert found["train"]["metrics"] == ["metrics.json"], "which is not there yet"
    assert found["code"] == {"paths": ["train.py"], "lock": "requirements.txt"}


@pytest.mark.slow
def test_templates_in_a_folder_of_a_monorepo(tmp_path: Path) -> None:
    there = adopting(tmp_path, MATRIX, "raw", below="models/churn")
    runs(there, "--pipeline", "models/churn/pipeline.yaml")
    found = pipeline(there, "models/churn")
    assert found["name"] == "churn"
    assert found["data"]["stages"] == ["split", "clean"]
    assert found["data"]["outputs"] == ["data/north", "data/south", "clean-s"]
    assert found["train"]["stages"] == ["train"]
    assert found["train"]["model"] == "model"
    assert set(found["code"]["paths"]) == {"learning", "settings.yaml"}
    workflow = (there.work / ".github/workflows/clew-churn.yml").read_text()
    assert "clew ci --pipeline models/churn/pipeline.yaml --reports" in workflow
