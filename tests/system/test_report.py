"""`clew report` on real commits: which model is compared, what changed, and what is not known."""

from __future__ import annotations

import json
from typing import Any

from tests.system.small import Small


def reported(small: Small, *arguments: str) -> Any:
    done = small.clew("report", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_more_data_is_told_by_records_and_as_the_only_cause(ran: Small) -> None:
    small = ran
    base = small.git("rev-parse", "HEAD")
    small.edit("params.yaml", "count: 5", "count: 8")
    small.commit("More data")
    assert small.clew("run").returncode == 0
    found = reported(small, "--base", base)
    assert found["base_is"] == "the base commit's own model"
    assert found["parts"] == ["data"]
    assert (found["data"]["files"], found["data"]["files_new"]) == (8, 3)
    assert found["data"]["unit"] == "file"
    (accuracy,) = [row for row in found["metrics"] if row["name"] == "accuracy"]
    assert (accuracy["base"], accuracy["head"]) == (0.55, 0.58)
    assert accuracy["interval"]["cases"] == [5, 8]
    assert found["head"]["model"] == "models:/small-model/2"
    text = small.clew("report", "--base", base).stdout
    assert "## clew: gates passed; better than the base" in text
    assert "3 files added, 0 removed, 0 changed; 8 now." in text
    assert "Only the data changed" in text


def test_on_a_branch_the_base_is_where_it_left_main(ran: Small) -> None:
    small = ran
    base = small.git("rev-parse", "HEAD")
    small.git("checkout", "-qb", "try")
    small.edit("params.yaml", "lr: 0.5", "lr: 0.45")
    small.commit("Slower")
    (small.work / "stages/train.py").open("a").write("# another\n")
    small.commit("Other code")
    assert small.clew("run").returncode == 0
    out = small.folder / "report.json"
    done = small.clew("report", "--json", "--output", str(out))
    assert (done.returncode, done.stdout) == (0, "")
    found = json.loads(out.read_text())
    assert found["base"]["commit"] == base
    assert found["parts"] == ["parameters", "code"]
    assert found["params"] == [{"name": "train.lr", "base": 0.5, "head": 0.45}]
    assert [change["name"] for change in found["code"]] == ["stages/train.py"]
    assert found["data"] is None


def test_an_untrained_base_gives_way_to_the_baseline_alias(ran: Small) -> None:
    small = ran
    baseline = small.git("rev-parse", "HEAD")
    small.edit("params.yaml", "lr: 0.5", "lr: 0.1")
    small.commit("Never trained")
    small.git("checkout", "-qb", "try")
    small.edit("params.yaml", "lr: 0.1", "lr: 0.45")
    small.commit("Trained")
    assert small.clew("run").returncode == 0
    found = reported(small)
    assert found["base_is"].startswith("the model with the alias production")
    assert found["base"]["commit"] == baseline
    assert found["base"]["model"] == "models:/small-model/1"
    assert found["parts"] == ["parameters"]


def test_a_refused_model_ends_with_1_and_an_untrained_head_is_said(ran: Small) -> None:
    small = ran
    small.edit("params.yaml", "lr: 0.5", "lr: 0.1")
    small.commit("Worse")
    done = small.clew("report")
    assert done.returncode == 0
    assert "no model of" in done.stdout
    assert "it was not trained" in done.stdout
    assert small.clew("run").returncode == 1
    done = small.clew("report")
    assert done.returncode == 1
    assert "## clew: gates refused; worse than the base" in done.stdout


def test_lost_data_is_said_and_not_taken_for_equal(ran: Small) -> None:
    small = ran
    base = small.git("rev-parse", "HEAD")
    small.edit("params.yaml", "count: 5", "count: 8")
    small.commit("More data")
    assert small.clew("run").returncode == 0
    for place in (small.storage, small.work / ".dvc/cache"):
        for listing in place.rglob("*.dir"):
            listing.unlink()
    found = reported(small, "--base", base)
    assert found["data"] is None
    assert "missing or corrupt" in found["data_missing"]
    assert found["parts"] == ["data"]


def test_without_mlflow_there_is_no_report(small: Small) -> None:
    (small.work / ".clew/mlflow.db").unlink()
    (small.work / "data/raw.txt").write_text("other\n")
    small.commit("Second")
    done = small.clew("report")
    assert done.returncode == 3
    assert "there is no MLflow database" in done.stderr


def test_the_first_commit_has_nothing_to_be_compared_with(small: Small) -> None:
    done = small.clew("report")
    assert done.returncode == 2
    assert "--base" in done.stderr
