"""Which models the aliases go to, and that they never go back by themselves."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.system.small import Small
from tests.system.state import tracked


def better(small: Small, lr: float) -> str:
    text = (small.work / "params.yaml").read_text()
    (small.work / "params.yaml").write_text(text.replace("lr: 0.5", f"lr: {lr}"))
    return small.commit(f"Learn at {lr}")


def test_an_older_commit_run_again_moves_no_alias_back(ran: Small) -> None:
    old = ran.git("rev-parse", "HEAD")
    better(ran, 0.6)
    assert ran.answer("run")["register"]["aliases"] == ["candidate", "production"]
    again = ran.answer("run", "--commit", old, "--branch", "main")
    assert again["register"]["version"] == 1
    assert again["register"]["aliases"] == []
    assert len(again["register"]["stays"]) == 2
    assert tracked(ran)["aliases"] == [("candidate", 2), ("production", 2)]


def test_a_revert_moves_them_to_the_model_of_before(ran: Small) -> None:
    better(ran, 0.6)
    ran.answer("run")
    ran.git("revert", "--no-edit", "HEAD")
    ran.git("push", "-q", "origin", "main")
    answer = ran.answer("run")
    assert answer["train"]["reused"]
    assert tracked(ran)["aliases"] == [("candidate", 1), ("production", 1)]


def test_a_model_that_no_commit_describes_never_becomes_the_baseline(ran: Small) -> None:
    answer = ran.answer("run", "--param", "train.lr=0.7")
    assert answer["register"]["aliases"] == ["candidate"]
    assert "--param" in answer["register"]["stays"][0]
    assert tracked(ran)["aliases"] == [("candidate", 2), ("production", 1)]


def test_a_gate_that_became_stricter_is_told_and_takes_nothing_away(ran: Small) -> None:
    ran.edit("pipeline.yaml", "min: 0.3", "min: 0.9")
    ran.commit("Stricter")
    done = ran.clew("run")
    assert done.returncode == 1
    assert "not promoted: a gate refused it" in done.stdout
    assert "aliases: candidate, production" in done.stdout


def test_a_model_forgotten_by_its_stage_is_made_again_once_that_is_mended(ran: Small) -> None:
    good = (ran.work / "stages/train.py").read_text()
    ran.edit("stages/train.py", '(model / "weights.json").write_text', "str")
    ran.edit("stages/evaluate.py", 'pathlib.Path("model/weights.json").read_text()', "'{}'")
    ran.edit("stages/evaluate.py", 'weights["n"] / 100 + weights["lr"]', "0.9")
    ran.edit("stages/evaluate.py", '"n": weights["n"]', '"n": 1')
    ran.commit("No model")
    done = ran.clew("run")
    assert done.returncode == 4
    assert "left nothing in model" in done.stderr
    assert tracked(ran)["versions"] == [1]
    (ran.work / "stages/train.py").write_text(good)
    ran.commit("Mended")
    assert ran.answer("run")["register"]["version"] == 2


def test_a_pipeline_that_moved_keeps_its_data_version(ran: Small) -> None:
    before = ran.answer("resolve")
    (ran.work / "models").mkdir()
    for name in (
        "stages",
        "data",
        "dvc.yaml",
        "dvc.lock",
        "params.yaml",
        "pipeline.yaml",
        "uv.lock",
    ):
        ran.git("mv", "-k", name, f"models/{name}")
    ran.commit("Move the pipeline")
    after = ran.answer("resolve", "--pipeline", "models/pipeline.yaml")
    assert after["data_git_commit_id"] == before["data_git_commit_id"]
    database = f"sqlite:///{ran.work}/.clew/mlflow.db"
    ran.edit("models/pipeline.yaml", "sqlite:///.clew/mlflow.db", database)
    ran.commit("Keep the MLflow database")
    done = ran.clew("trace", "models:/small-model/1", "--pipeline", "models/pipeline.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_baseline_is_production_and_never_itself(ran: Small) -> None:
    ran.edit("pipeline.yaml", "max_regression: 0.1", "min_improvement: 0.01")
    ran.edit("params.yaml", "lr: 0.5", "lr: 0.8")
    ran.commit("Ask for more")
    ran.git("checkout", "-qb", "feature")
    ran.git("push", "-q", "origin", "feature")
    assert ran.answer("run")["register"]["aliases"] == ["candidate"]
    ran.git("checkout", "-q", "main")
    ran.edit("params.yaml", "lr: 0.8", "lr: 0.6")  # better than production, worse than candidate
    ran.commit("A little more")
    first = ran.answer("run")
    assert first["evaluate"]["baseline"] == "models:/small-model/1"
    assert "production" in first["register"]["aliases"]
    again = ran.answer("run")
    assert again["evaluate"]["passed"], "a model need not be better than itself"


def test_a_baseline_whose_run_is_gone_is_missing_evidence(ran: Small) -> None:
    with closing(sqlite3.connect(ran.work / ".clew/mlflow.db")) as database, database:
        database.execute("UPDATE runs SET lifecycle_stage = 'deleted'")
    better(ran, 0.6)
    done = ran.clew("run")
    assert done.returncode == 3
    assert "can't be compared with" in done.stderr
