"""CodeBuild's buildspec and GitLab's pipeline: their own commands, run as those systems do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("github", reason="the extra `forges` is not installed")

from tests.forge import gitlab_stub
from tests.forge.github_stub import REPOSITORY, TOKEN, GitHubStub, served
from tests.forge.gitlab_stub import GitLabStub
from tests.forge.impostor import posing
from tests.system.ci.events import NONE
from tests.system.small import Small
from tests.system.state import tracked

ROOT = Path(__file__).parents[3]
WITH_BIN = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
API = "api.github.com"
# https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html
CODEBUILD = {
    "CODEBUILD_BUILD_ID": "clew:1",
    "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/feature",
    "CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID": "1234",
    "CODEBUILD_INITIATOR": "GitHub-Hookshot/1",
}
CODEBUILD_PUSH = {
    "CODEBUILD_WEBHOOK_EVENT": "PUSH",
    "CODEBUILD_WEBHOOK_TRIGGER": "branch/feature",
    "CODEBUILD_WEBHOOK_PREV_COMMIT": NONE,
}
CODEBUILD_CREATED = {
    "CODEBUILD_WEBHOOK_EVENT": "PULL_REQUEST_CREATED",
    "CODEBUILD_WEBHOOK_TRIGGER": "pr/7",
    "CODEBUILD_SOURCE_VERSION": "pr/7",
    "CODEBUILD_WEBHOOK_BASE_REF": "refs/heads/main",
}
CODEBUILD_UPDATED = CODEBUILD_CREATED | {"CODEBUILD_WEBHOOK_EVENT": "PULL_REQUEST_UPDATED"}
# https://docs.gitlab.com/ci/variables/predefined_variables/
GITLAB = {
    "GITLAB_CI": "true",
    "GITLAB_USER_LOGIN": "someone",
    "GITLAB_TOKEN": gitlab_stub.TOKEN,
    "CI_SERVER_HOST": "gitlab.invalid",
    "CI_PROJECT_PATH": gitlab_stub.PROJECT,
}
GITLAB_PUSH = {
    "CI_PIPELINE_SOURCE": "push",
    "CI_COMMIT_BRANCH": "feature",
    "CI_COMMIT_BEFORE_SHA": NONE,
}
GITLAB_MERGE = {
    "CI_PIPELINE_SOURCE": "merge_request_event",
    "CI_MERGE_REQUEST_EVENT_TYPE": "detached",
    "CI_MERGE_REQUEST_IID": "7",
    "CI_MERGE_REQUEST_REF_PATH": "refs/merge-requests/7/head",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "feature",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": "",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": str(gitlab_stub.PROJECT_ID),
    "CI_MERGE_REQUEST_PROJECT_ID": str(gitlab_stub.PROJECT_ID),
}


def run(commands: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """Run a CI system's commands one by one in a shell; return what they said."""
    said = ""
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said += done.stdout
        assert done.returncode == 0, said
    return said


def run_as(small: Small, commands: Sequence[str], variables: Mapping[str, str]) -> str:
    there = replace(small, variables={**small.variables, **variables})
    return run(commands, small.work, {**there.environment, "CI": "true"})


def installed(commands: Sequence[str], folder: Path, **told: str) -> Path:
    """Run the commands that install, with this machine's index and caches; return what came."""
    run(commands, folder, {**os.environ, "PATH": WITH_BIN, **told})
    return folder / ".venv"


def put(small: Small, environment: Path) -> None:
    """Put what was installed where the commands have it, among what nobody commits."""
    (small.work / ".git/info/exclude").write_text(".venv\ninfra\n")
    (small.work / ".venv").symlink_to(environment)


def proposed(small: Small) -> str:
    """Push a change on a branch of its own; return its commit."""
    small.git("checkout", "-qb", "feature")
    small.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    return small.commit("Faster")


# --- CodeBuild -------------------------------------------------------------------------------


@pytest.fixture
def buildspec() -> Any:
    spec = yaml.safe_load((ROOT / "buildspec.yml").read_text())
    assert list(spec["phases"]) == ["install", "build"]
    return spec


@pytest.fixture
def on_codebuild(ran: Small, buildspec: Any, tmp_path: Path) -> Small:
    """The pipeline with what the install phase leaves in a checkout of this repository."""
    checkout = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", ROOT, checkout], check=True)
    put(ran, installed(buildspec["phases"]["install"]["commands"], checkout))
    (ran.work / "infra").mkdir()
    (ran.work / "infra/finish.py").symlink_to(checkout / "infra/finish.py")
    return ran


@pytest.mark.slow
def test_the_buildspecs_phases(on_codebuild: Small, buildspec: Any, tmp_path: Path) -> None:
    cloned_from_github(on_codebuild)
    head = proposed(on_codebuild)
    build = buildspec["phases"]["build"]["commands"]
    with served(GitHubStub()) as stub, posing(API, stub.url, tmp_path) as impostor:
        stub.url = f"https://{API}"
        stub.open_pull(7, "feature", head)
        with_token = {"GITHUB_TOKEN": TOKEN, "CODEBUILD_RESOLVED_SOURCE_VERSION": head}
        given = {**CODEBUILD, **impostor.environment, **with_token}
        run_as(on_codebuild, build, given | CODEBUILD_CREATED)
        (body,) = stub.bodies(7)
        assert "no model of" in body
        said = run_as(on_codebuild, build, given | CODEBUILD_PUSH)
        assert "models:/small-model/2 (new)" in said
        (body,) = stub.bodies(7)
        assert "gates passed; better than the base" in body
        run_as(on_codebuild, build, given | CODEBUILD_UPDATED)
        assert stub.bodies(7) == [body]
    states = [(status["sha"], status["state"]) for status in stub.statuses]
    assert states == [(head, "pending"), (head, "success"), (head, "success")]
    assert tracked(on_codebuild)["versions"] == [1, 2]
    hourly = {"CODEBUILD_BUILD_ID": "clew:2", "CODEBUILD_INITIATOR": "rule/hourly"}
    assert "nothing is pending" in run_as(on_codebuild, build, hourly)


def cloned_from_github(small: Small) -> None:
    """Call origin what CodeBuild's webhook has it from, and lead Git's way there to the folder."""
    ssh = small.folder / "ssh.sh"
    ssh.write_text('#!/bin/sh\ncd "$(dirname "$0")" && exec sh -c "$2"\n')
    ssh.chmod(0o755)
    (small.folder / REPOSITORY).parent.mkdir()
    (small.folder / f"{REPOSITORY}.git").symlink_to(small.origin)
    small.git("config", "core.sshCommand", str(ssh))
    small.git("config", "ssh.variant", "simple")
    small.git("remote", "set-url", "origin", f"git@github.com:{REPOSITORY}.git")


# --- GitLab ----------------------------------------------------------------------------------


@pytest.fixture
def script() -> Sequence[str]:
    lines: list[str] = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())["clew"]["script"]
    assert "set-url --push origin" in lines[-2], "the way to push, with the token"
    return lines


@pytest.fixture
def on_gitlab(ran: Small, script: Sequence[str], tmp_path: Path) -> Small:
    """The pipeline with what the script's first lines install, from a wheel of this very clew."""
    folder = tmp_path / "installed"
    shutil.copytree(ROOT / "scripts/clew", folder / "source/scripts/clew")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source" / name)
    installed(["uv build --quiet --wheel --out-dir . source"], folder)
    (wheel,) = folder.glob("*.whl")
    put(ran, installed(script[:-2], folder, CLEW_SOURCE=wheel.as_uri()))
    return ran


@pytest.mark.slow
def test_gitlabs_script(on_gitlab: Small, script: Sequence[str]) -> None:
    head = proposed(on_gitlab)
    push_url = on_gitlab.git("remote", "get-url", "--push", "origin")
    with GitLabStub() as gitlab:
        gitlab.open_merge(7, "feature")
        given = {**GITLAB, "CI_SERVER_URL": gitlab.url, "CI_COMMIT_SHA": head}
        run_as(on_gitlab, script[-1:], given | GITLAB_MERGE)
        (body,) = gitlab.bodies(7)
        assert "no model of" in body
        said = run_as(on_gitlab, script[-1:], given | GITLAB_PUSH)
        assert "models:/small-model/2 (new)" in said
        assert gitlab_stub.TOKEN not in said
        (body,) = gitlab.bodies(7)
        assert "gates passed; better than the base" in body
        run_as(on_gitlab, script[-1:], given | GITLAB_MERGE)
        assert gitlab.bodies(7) == [body]
    assert {(one["sha"], one["state"]) for one in gitlab.statuses} == {(head, "success")}
    assert gitlab.refused == []
    assert on_gitlab.git("remote", "get-url", "--push", "origin") == push_url
