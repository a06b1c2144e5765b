"""CodeBuild's buildspec and GitLab's pipeline: their own commands, run as those systems do."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import yaml

from tests.system.small import Small
from tests.system.state import tracked

ROOT = Path(__file__).parents[3]
CODEBUILD = {
    "CODEBUILD_BUILD_ID": "clew:1",
    "CODEBUILD_WEBHOOK_EVENT": "PUSH",
    "CODEBUILD_WEBHOOK_TRIGGER": "branch/main",
    "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/main",
    "CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID": "1234",
    "CODEBUILD_INITIATOR": "GitHub-Hookshot/1",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PIPELINE_SOURCE": "push",
    "CI_COMMIT_BRANCH": "main",
    "GITLAB_USER_LOGIN": "someone",
    "CLEW_SOURCE": "pip",  # clew is there already: pip has nothing to install
    "GITLAB_TOKEN": "t0ken",
    "CI_SERVER_HOST": "gitlab.invalid",
    "CI_PROJECT_PATH": "us/it",
}


def run_as(small: Small, commands: list[str], variables: dict[str, str]) -> str:
    """Run a CI system's commands one by one in a shell; return what they said."""
    there = replace(small, variables={**small.variables, **variables})
    said = ""
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=small.work,
            env={**there.environment, "CI": "true"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said += done.stdout
        assert done.returncode == 0, said
    return said


def pushed(small: Small) -> tuple[str, str]:
    before = small.git("rev-parse", "HEAD")
    small.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    return before, small.commit("Faster")


def test_the_buildspecs_build_on_a_push_and_on_a_schedule(ran: Small) -> None:
    before, after = pushed(ran)
    spec = yaml.safe_load((ROOT / "buildspec.yml").read_text())
    assert list(spec["phases"]) == ["install", "build"]
    # What the install phase leaves in the source's folder: an environment with clew.
    (ran.work / ".venv").symlink_to(sys.prefix)
    (ran.work / "infra").mkdir()
    (ran.work / "infra/finish.py").symlink_to(ROOT / "infra/finish.py")
    told = {
        **CODEBUILD,
        "CODEBUILD_RESOLVED_SOURCE_VERSION": after,
        "CODEBUILD_WEBHOOK_PREV_COMMIT": before,
    }
    said = run_as(ran, spec["phases"]["build"]["commands"], told)
    assert "models:/small-model/2 (new)" in said
    assert tracked(ran)["aliases"] == [("candidate", 2), ("production", 2)]
    hourly = {"CODEBUILD_BUILD_ID": "clew:2", "CODEBUILD_INITIATOR": "rule/hourly"}
    said = run_as(ran, spec["phases"]["build"]["commands"], hourly)
    assert "nothing is pending" in said


def test_gitlabs_script_on_a_push(ran: Small) -> None:
    before, after = pushed(ran)
    job = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())["clew"]
    push_url = ran.git("remote", "get-url", "--push", "origin")
    script = [line for line in job["script"] if "set-url" not in line]
    assert len(script) == len(job["script"]) - 1, "the way to push, with the token"
    told = {**GITLAB, "CI_COMMIT_SHA": after, "CI_COMMIT_BEFORE_SHA": before}
    said = run_as(ran, script, told)
    assert "models:/small-model/2 (new)" in said
    assert "t0ken" not in said
    assert ran.git("remote", "get-url", "--push", "origin") == push_url
