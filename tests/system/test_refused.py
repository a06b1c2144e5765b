"""What is refused before anything changes: what, why, what to do, and the exit code."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.small import Small
from tests.system.state import end_state

Break = Callable[[Small], None]


def dirty_code(small: Small) -> None:
    small.edit("stages/train.py", "trained on", "TRAINED ON")


def untracked_code(small: Small) -> None:
    (small.work / "stages/helper.py").write_text("x = 1\n")


def dirty_params(small: Small) -> None:
    small.edit("params.yaml", "lr: 0.5", "lr: 0.6")


def content_nowhere(small: Small) -> None:
    shutil.rmtree(small.storage)
    small.storage.mkdir()
    unfinished(small)


def corrupt_object(small: Small) -> None:
    victim = sorted(p for p in small.storage.rglob("*") if p.is_file() and p.suffix != ".dir")[0]
    victim.chmod(0o644)
    victim.write_text("other bytes")
    unfinished(small)


def truncated_object(small: Small) -> None:
    victim = sorted(p for p in small.storage.rglob("*") if p.is_file() and p.suffix != ".dir")[0]
    victim.chmod(0o644)
    victim.write_text("")
    unfinished(small)


def corrupt_listing(small: Small) -> None:
    (victim,) = small.storage.rglob("*.dir")
    victim.chmod(0o644)
    victim.write_text("[]")
    unfinished(small)


def unfinished(small: Small) -> None:
    """Ask for a training that was not done yet, so that the data is needed."""
    small.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    small.commit("Train again")


def foreign_tag(small: Small) -> None:
    tag = small.git("tag").split()[0]
    root = small.git("rev-list", "--max-parents=0", "HEAD")
    small.git("tag", "-f", "-a", "-m", "moved", tag, root)


def unknown_metric(small: Small) -> None:
    small.edit("pipeline.yaml", "metric: accuracy, min", "metric: acuracy, min")
    small.commit("Gate")


def misspelt_key(small: Small) -> None:
    small.edit("pipeline.yaml", "gates:", "gate:")
    small.commit("Key")


def duplicate_key(small: Small) -> None:
    (small.work / "pipeline.yaml").write_text(
        (small.work / "pipeline.yaml").read_text() + "name: other\n"
    )
    small.commit("Twice")


def broken_yaml(small: Small) -> None:
    small.edit("pipeline.yaml", "name: small", "name: [small")
    small.commit("Broken")


def other_type(small: Small) -> None:
    (small.work / "pipeline.yaml").write_text("- a\n- b\n")
    small.commit("List")


def alias_bomb(small: Small) -> None:
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    padding = "# " + "x" * 10_000_000 + "\n"
    (small.work / "pipeline.yaml").write_text("a0: &a0 [x, x]\n" + levels + padding)
    small.commit("Bomb")


def conflict_markers(small: Small) -> None:
    small.edit("dvc.lock", "schema:", "<<<<<<< ours\nschema:")
    small.commit("Conflict")


def misnamed_model(small: Small) -> None:
    small.edit("pipeline.yaml", "model: model", "model: modell")
    small.commit("Model")


def misnamed_metrics(small: Small) -> None:
    small.edit("pipeline.yaml", "path: metrics.json", "path: metric.json")
    small.commit("Metrics")


def absent_script(small: Small) -> None:
    small.git("rm", "-q", "stages/evaluate.py")
    small.commit("Forgotten")


def no_remote(small: Small) -> None:
    small.edit("pipeline.yaml", "remote: storage", "remote: storrage")
    small.commit("Remote")


def unlisted_data(small: Small) -> None:
    (small.work / "vocabulary.txt").write_text("a b c\n")
    small.dvc("add", "-q", "vocabulary.txt")
    small.edit("dvc.yaml", "[data/prepared, stages/train.py]", "[data/prepared, vocabulary.txt]")
    small.commit("More inputs")


def unlisted_code(small: Small) -> None:
    (small.work / "extra.py").write_text("x = 1\n")
    small.edit("dvc.yaml", "[data/prepared, stages/train.py]", "[data/prepared, extra.py]")
    small.commit("More code")


def export_ignored(small: Small) -> None:
    (small.work / ".gitattributes").write_text("stages/train.py export-ignore\n")
    small.commit("Left out")


def git_lfs(small: Small) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    (small.work / "stages/weights.bin").write_text(pointer)
    small.commit("Large file")


def link_out(small: Small) -> None:
    (small.work / "hosts").symlink_to("/etc/hosts")
    small.commit("Link")


def mlflow_down(small: Small) -> None:
    small.edit("pipeline.yaml", "sqlite:///.clew/mlflow.db", "http://127.0.0.1:9")
    small.commit("Server")


CASES: list[tuple[Break, int, list[str]]] = [
    (dirty_code, 2, ["stages/train.py", "commit", "--allow-dirty"]),
    (untracked_code, 2, ["stages/helper.py", "git add"]),
    (dirty_params, 2, ["params.yaml"]),
    (content_nowhere, 3, ["neither the cache nor the remote", "dvc push"]),
    (corrupt_object, 3, ["other bytes", "data/prepared/", "corrupt"]),
    (truncated_object, 3, ["data/prepared/", "truncated"]),
    (corrupt_listing, 3, ["data/prepared", "corrupt"]),
    (foreign_tag, 3, ["data/small/"]),
    (unknown_metric, 2, ["pipeline.yaml:", "$.gates[0].metric", "'acuracy'", "accuracy"]),
    (misspelt_key, 2, ["pipeline.yaml:", "gate", "gates"]),
    (duplicate_key, 2, ["pipeline.yaml:", "name"]),
    (broken_yaml, 2, ["pipeline.yaml:"]),
    (other_type, 2, ["pipeline.yaml:1"]),
    (alias_bomb, 2, ["pipeline.yaml"]),
    (conflict_markers, 2, ["dvc.lock", "conflict"]),
    (misnamed_model, 2, ["train.model", "modell", "Did you mean 'model'?"]),
    (misnamed_metrics, 2, ["train.metrics", "metric.json", "metrics.json"]),
    (absent_script, 2, ["stages/evaluate.py", "not in the commit", "git add"]),
    (no_remote, 2, ["storrage", "storage"]),
    (unlisted_data, 2, ["vocabulary.txt", "data.outputs"]),
    (unlisted_code, 2, ["extra.py", "code.paths"]),
    (export_ignored, 2, ["stages/train.py", "export-ignored"]),
    (git_lfs, 2, ["stages/weights.bin", "LFS"]),
    (link_out, 2, ["hosts links out of the repository, to /etc/hosts", "export-ignore"]),
    (mlflow_down, 4, ["http://127.0.0.1:9"]),
]


@pytest.mark.parametrize(
    ("sabotage", "code", "words"), CASES, ids=lambda v: getattr(v, "__name__", "")
)
def test_refused_before_anything_changes(
    ran: Small, sabotage: Break, code: int, words: list[str]
) -> None:
    sabotage(ran)
    before = end_state(ran)
    started = time.monotonic()
    done = ran.clew("run")
    assert done.returncode == code, done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert end_state(ran) == before
    assert time.monotonic() - started < 60


READ = ["pipeline.yaml", "dvc.yaml", "dvc.lock", "params.yaml", "uv.lock", "data/raw.txt"]


@pytest.mark.parametrize("path", [*READ, ".dvc/config"])
def test_whatever_a_job_would_read_must_be_committed(ran: Small, path: str) -> None:
    text = (ran.work / path).read_text()
    (ran.work / path).write_text(f"{text}# changed\n")
    done = ran.clew("run")
    assert done.returncode == 2
    assert path in done.stderr
    assert "--allow-dirty" in done.stderr


def test_a_stale_lock_is_refused_with_no_process(ran: Small) -> None:
    ran.edit("params.yaml", "count: 5", "count: 6")
    ran.commit("More data")
    before = end_state(ran)
    done = ran.clew("run", "--no-process")
    assert done.returncode == 2
    assert "older than the inputs of prepare" in done.stderr
    assert end_state(ran) == before


def test_no_git_repository(tmp_path: Path, fresh: Small) -> None:
    done = fresh.clew("run", cwd=tmp_path)
    assert done.returncode == 2
    assert "git init" in done.stderr


def test_no_commit_yet(tmp_path: Path, fresh: Small) -> None:
    fresh.git("init", "-q", cwd=tmp_path)
    done = fresh.clew("run", cwd=tmp_path)
    assert done.returncode == 2
    assert "commit" in done.stderr


def test_no_dvc(small: Small) -> None:
    small.git("rm", "-rqf", ".dvc", ".dvcignore")
    small.commit("No DVC")
    shutil.rmtree(small.work / ".dvc", ignore_errors=True)
    done = small.clew("run")
    assert done.returncode == 2
    assert "dvc init" in done.stderr


def test_no_pipeline_yaml(small: Small) -> None:
    done = small.clew("run", "--pipeline", "other.yaml")
    assert done.returncode == 2
    assert "other.yaml" in done.stderr
