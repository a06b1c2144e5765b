"""`clew report` on real commits: which model is compared, what changed, and what is not known."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
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
    assert "## ✅ clew: gates passed; better than the base; trained in " in text
    assert "3 files added, 0 removed, 0 changed; 8 now." in text
    assert "3 of 8 files are new: 18 B new, 30 B reused; 48 B in all, +18 B." in text
    assert "only the data changed" in text


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
    assert found["params"] == [{"name": "train.lr", "base": 0.5, "head": 0.45, "stage": "training"}]
    assert found["code"] == [
        {"path": "stages/train.py", "change": "changed", "added": 1, "removed": 0}
    ]
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
    assert "## ❌ clew: 2 of 2 gates refused; worse than the base" in done.stdout


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
    (pointer,) = found["pointers"]  # what Git alone knows
    assert (pointer["files"], pointer["size"]) == ([5, 8], [30, 48])


def test_without_mlflow_there_is_no_report(small: Small) -> None:
    (small.work / ".clew/mlflow.db").unlink()
    (small.work / "data/raw.txt").write_text("other\n")
    small.commit("Second")
    done = small.clew("report")
    assert done.returncode == 3
    assert "there is no MLflow database" in done.stderr


def test_what_clew_committed_belongs_to_the_change_before_it(ran: Small) -> None:
    base = ran.git("rev-parse", "HEAD")
    ran.edit("params.yaml", "count: 5", "count: 8")
    ran.commit("More data")
    assert ran.clew("run").returncode == 0
    assert ran.git("log", "-1", "--format=%s") == "Process prepare"
    found = reported(ran)
    assert found["base"]["commit"] == base
    assert found["params"] == [{"name": "prepare.count", "base": 5, "head": 8, "stage": "data"}]


def test_gates_without_the_baselines_evidence_are_unverifiable(ran: Small) -> None:
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    ran.commit("Faster")
    assert ran.clew("train").returncode == 0
    with closing(sqlite3.connect(ran.work / ".clew/mlflow.db")) as database, database:
        lost = "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid IN"
        database.execute(f"{lost} (SELECT run_id FROM model_versions)")
    done = ran.clew("report")
    assert done.returncode == 3
    assert "## ⚠️ clew: gates unverifiable; nothing to compare with" in done.stdout
    assert "its MLflow run is gone" in done.stdout


def test_without_secrets_data_and_configuration_are_reported(ran: Small) -> None:
    base = ran.git("rev-parse", "HEAD")
    ran.edit("params.yaml", "count: 5", "count: 8")
    ran.commit("More data")
    assert ran.clew("version").returncode == 0
    for file in (ran.work / ".clew").glob("mlflow.db*"):
        file.unlink()
    done = ran.clew("report", "--data-only", "--base", base)
    assert done.returncode == 0, done.stderr
    assert "## ✅ clew: configuration and data only: nothing wrong found" in done.stdout
    assert "one from a fork" in done.stdout
    assert "3 files added" in done.stdout
    assert not (ran.work / ".clew/mlflow.db").exists()


def test_without_secrets_a_broken_configuration_is_reported(ran: Small) -> None:
    ran.edit("dvc.yaml", "stages/evaluate.py]", "stages/misspelt.py]")
    ran.commit("Misspelt")
    done = ran.clew("report", "--data-only")
    assert done.returncode == 2
    assert "## ❌ clew: configuration and data only: 1 problem found" in done.stdout
    assert "misspelt" in done.stdout
    ran.edit("pipeline.yaml", "gates:", "gaits:")
    ran.commit("Worse")
    done = ran.clew("report", "--data-only")
    assert done.returncode == 2
    assert "gaits" in done.stdout


def test_links_lead_to_the_forge_and_mlflow_by_what_ci_says(ran: Small) -> None:
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    head = ran.commit("Faster")
    on_github = {
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_RUN_ID": "7",
    }
    done = replace(ran, variables=on_github).clew("report")
    assert f"](https://github.example/o/r/commit/{head})" in done.stdout


def test_the_page_asks_nobody_for_anything(ran: Small) -> None:
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    ran.commit("Faster")
    out = ran.folder / "report.html"
    assert ran.clew("report", "--format", "html", "--output", str(out)).returncode == 0
    page = out.read_text()
    assert page.startswith("<!doctype html>")
    assert "://" not in page
    assert "<script" not in page


def test_the_first_commit_has_nothing_to_be_compared_with(small: Small) -> None:
    done = small.clew("report")
    assert done.returncode == 2
    assert "--base" in done.stderr


def test_inputs_that_no_stage_has_read_yet_have_no_model(ran: Small) -> None:
    (ran.work / "data/raw.txt").write_text("other\n")
    ran.commit("Other raw data")
    done = ran.clew("report", "--json")
    found = json.loads(done.stdout)
    assert found["evaluation"] is None, "the model is of the data before"
    assert found["head"]["missing"] == "prepare did not run for it yet"
