"""Git over HTTP, the MLflow server with its App, and the command that starts everything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gitrepo import git, isolate
from tests.stand import Stand
from tests.stand.git_http import GitHttp
from tests.stand.processes import REPOSITORY

TRACK = """
import mlflow
mlflow.set_experiment("test")
with mlflow.start_run() as run:
    mlflow.log_param("lr", 1)
    mlflow.log_text("hello", "note.txt")
found = mlflow.MlflowClient().get_run(run.info.run_id)
print(found.data.params["lr"], mlflow.artifacts.load_text(found.info.artifact_uri + "/note.txt"))
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHttp]:
    with GitHttp(tmp_path_factory.mktemp("git")) as started:
        yield started


def test_pushing_needs_the_password(
    host: GitHttp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolate(tmp_path, monkeypatch)
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    url = host.create("project")
    with pytest.raises(AssertionError, match="could not read Username"):
        git(tmp_path, "clone", url, "refused")
    with pytest.raises(AssertionError, match="Authentication failed"):
        git(tmp_path, "clone", url.replace("://", "://clew-bot:wrong@"), "refused")
    git(tmp_path, "clone", "--quiet", host.with_credentials(url), "clone")
    clone = tmp_path / "clone"
    (clone / "large").write_bytes(os.urandom(3_000_000))  # sent in chunks
    git(clone, "add", "large")
    git(clone, "commit", "--quiet", "-m", "Large")
    git(clone, "tag", "-a", "-m", "One", "data/one")
    git(clone, "push", "--quiet", "origin", "main", "data/one")
    assert git(clone, "ls-remote", "origin", "main").split()[0] == git(clone, "rev-parse", "main")
    git(tmp_path, "clone", "--quiet", "--depth=1", host.with_credentials(url), "again")
    assert (tmp_path / "again" / "large").stat().st_size == 3_000_000


@pytest.mark.slow
def test_mlflow_is_reached_by_its_uri_and_as_an_app(tmp_path: Path) -> None:
    with Stand(tmp_path, mlflow=True) as stand:
        assert stand.mlflow is not None
        for uri in (stand.mlflow.uri, stand.mlflow_app_arn):
            done = subprocess.run(
                [sys.executable, "-c", TRACK],
                env=os.environ | stand.environment | {"MLFLOW_TRACKING_URI": uri},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.stdout.splitlines()[-1] == "1 hello", done.stderr
        apps = stand.boto3("sagemaker").list_mlflow_apps()["Summaries"]
        assert [app["Arn"] for app in apps] == [stand.mlflow_app_arn]


def test_the_command_prints_what_to_export(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.stand", "--without", "mlflow"]
    command += ["--folder", str(tmp_path)]
    started = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    lines = [started.stdout.readline() for _ in range(9)]
    assert lines[0].startswith("export AWS_ACCESS_KEY_ID=AKIA")
    started.send_signal(signal.SIGINT)
    rest = started.stdout.read()
    assert "export STAND_GIT_URL=http://clew-bot:" in rest
    assert started.wait(30) == 0
    started.stdout.close()
