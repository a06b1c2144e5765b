"""`clew gc` after real runs: what is needed can still be pulled and traced, the rest is gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.system.small import Small, copied

DELETE = """\
import sys
from mlflow import MlflowClient
MlflowClient(sys.argv[1], registry_uri=sys.argv[1]).delete_model_version("small-model", sys.argv[2])
"""


@pytest.fixture(scope="module")
def twice(finished: Small, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A branch had more data and a model of its own; the branch is gone again."""
    small = copied(finished, tmp_path_factory.mktemp("twice"))
    small.git("switch", "-qc", "more")
    small.edit("params.yaml", "count: 5", "count: 8")
    small.commit("More data")
    done = small.clew("run")
    assert done.returncode == 0, done.stderr
    small.git("switch", "-q", "main")
    small.git("branch", "-qD", "more")
    small.git("push", "-q", "origin", "--delete", "more")
    return small


@pytest.fixture
def trained(twice: Small, tmp_path: Path) -> Small:
    return copied(twice, tmp_path)


def untag(small: Small) -> str:
    """Remove the second data version's tag everywhere and return the commit it was on."""
    (tag,) = small.git("tag", "--no-merged", "main").split()
    commit = small.git("rev-parse", f"{tag}^{{commit}}")
    small.git("tag", "-d", tag)
    small.git("push", "-q", "origin", "--delete", tag)
    return commit


def unregister(small: Small) -> None:
    store = f"sqlite:///{small.work}/.clew/mlflow.db"
    small.python(DELETE, store, "2")


def stored(small: Small) -> set[str]:
    places = small.storage, small.work / ".dvc/cache/files"
    return {str(path) for place in places for path in place.rglob("*") if path.is_file()}


def pulled(small: Small, commit: str) -> int:
    """Return how many files anybody gets who has the commit and the DVC remote."""
    clone = small.folder / "clone"
    small.git("clone", "-q", str(small.work), str(clone), cwd=small.folder)
    small.git("fetch", "-q", "origin", commit, cwd=clone)
    small.git("checkout", "-q", commit, cwd=clone)
    small.call("dvc", "pull", "-q", "data/prepared", cwd=clone)
    return len(list((clone / "data/prepared").iterdir()))


def test_what_nothing_needs_is_listed_and_removed_only_with_yes(trained: Small) -> None:
    untag(trained)
    unregister(trained)
    before = stored(trained)
    for arguments in ((), ("--dry-run",)):
        listed = trained.clew("gc", "--grace", "0", *arguments)
        assert listed.returncode == 0, listed.stderr
        assert stored(trained) == before
        assert "remove  remote data/prepared: 4 objects" in listed.stdout
        assert "kept    branch main: " in listed.stdout
        assert "clew gc --yes" in listed.stdout
    plan = trained.answer("gc", "--grace", "0")
    assert (plan["removed"], plan["verdict"]) == (False, "PASS")
    done = trained.answer("gc", "--grace", "0", "--yes")
    assert done["removed"]
    assert done["remove"] == plan["remove"]
    remote = next(one for one in plan["remove"] if one["place"] == "remote")
    assert remote["objects"] == 4
    left = stored(trained)
    assert len(before) - len(left) == sum(one["objects"] for one in plan["remove"])
    assert pulled(trained, "main") == 5
    assert trained.clew("trace", "models:/small-model/1").returncode == 0
    again = trained.answer("gc", "--grace", "0", "--yes")
    assert not any(one["objects"] for one in again["remove"])
    assert stored(trained) == left


def test_by_default_what_is_young_is_kept(trained: Small) -> None:
    untag(trained)
    unregister(trained)
    before = stored(trained)
    done = trained.clew("gc", "--yes")
    assert done.returncode == 0, done.stderr
    assert "younger than 24 h" in done.stdout
    assert stored(trained) == before


def test_a_data_version_is_kept_without_branch_and_model(trained: Small) -> None:
    unregister(trained)
    commit = trained.git("rev-parse", trained.git("tag", "--no-merged", "main") + "^{commit}")
    assert trained.clew("gc", "--grace", "0", "--yes").returncode == 0
    assert pulled(trained, commit) == 8


def test_a_registered_model_is_kept_without_branch_and_tag(trained: Small) -> None:
    commit = untag(trained)
    done = trained.clew("gc", "--grace", "0", "--yes")
    assert done.returncode == 0, done.stderr
    assert "kept    model version models:/small-model/2: " in done.stdout
    trained.git("tag", "found", commit)
    assert pulled(trained, commit) == 8


def test_what_was_removed_can_be_made_again(trained: Small) -> None:
    untag(trained)
    unregister(trained)
    assert trained.clew("gc", "--grace", "0", "--yes").returncode == 0
    trained.edit("params.yaml", "count: 5", "count: 8")
    trained.commit("More data after all")
    done = trained.clew("run")
    assert done.returncode == 0, done.stderr
    assert pulled(trained, "main") == 8


@pytest.mark.parametrize("arguments", [(), ("--yes",), ("--yes", "--json")])
def test_without_mlflow_nothing_is_removed(trained: Small, arguments: tuple[str, ...]) -> None:
    untag(trained)
    (trained.work / ".clew/mlflow.db").unlink()
    before = stored(trained)
    done = trained.clew("gc", "--grace", "0", *arguments)
    assert done.returncode == 3, done.stdout
    assert "MLflow" in done.stderr
    assert stored(trained) == before


def test_with_an_mlflow_that_does_not_answer_nothing_is_removed(trained: Small) -> None:
    untag(trained)
    trained.edit("pipeline.yaml", "sqlite:///.clew/mlflow.db", "http://127.0.0.1:9")
    trained.commit("Server")
    before = stored(trained)
    done = trained.clew("gc", "--grace", "0", "--yes")
    assert done.returncode == 3, done.stdout
    assert "http://127.0.0.1:9" in done.stderr
    assert stored(trained) == before


def test_a_clone_of_one_branch_without_tags_knows_of_the_others(trained: Small) -> None:
    clone = trained.folder / "clone"
    origin = f"file://{trained.origin}"
    shallow = ("--depth=1", "--single-branch", "--no-tags")
    trained.git("clone", "-q", *shallow, origin, str(clone), cwd=trained.folder)
    (clone / ".clew").mkdir()
    shutil.copy(trained.work / ".clew/mlflow.db", clone / ".clew/mlflow.db")
    refs = trained.git("for-each-ref", cwd=clone)
    before = stored(trained)
    done = trained.clew("gc", "--grace", "0", "--yes", cwd=clone)
    assert done.returncode == 0, done.stderr
    for tag in trained.git("tag").split():
        assert f"kept    data version {tag}: " in done.stdout
    assert "model version models:/small-model/2" in done.stdout
    assert stored(trained) == before
    assert trained.git("for-each-ref", cwd=clone) == refs


def test_an_unverifiable_answer_says_so_and_removes_nothing(trained: Small) -> None:
    untag(trained)
    unregister(trained)
    trained.edit("dvc.lock", "schema:", "<<<<<<< ours\nschema:")
    trained.commit("Conflict")
    before = stored(trained)
    done = trained.clew("gc", "--grace", "0", "--yes")
    assert done.returncode == 3
    assert "UNVERIFIABLE branch main: dvc.lock can't be read" in done.stdout
    assert stored(trained) == before


def test_yes_and_dry_run_exclude_each_other(trained: Small) -> None:
    done = trained.clew("gc", "--yes", "--dry-run")
    assert done.returncode == 2
