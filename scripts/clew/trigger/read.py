"""Which CI system this is, and what it was started for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from clew.errors import ConfigError
from clew.trigger import codebuild, github, gitlab
from clew.trigger.model import Trigger


def read_trigger(environ: Mapping[str, str], event: Callable[[str], Mapping[str, Any]]) -> Trigger:
    """Return why clew was started; `event` reads the file of GITHUB_EVENT_PATH.

    ConfigError outside of a CI system, and for an event that can't be, or must not be, acted on.
    """
    if environ.get("GITHUB_ACTIONS") == "true":
        return github.read(environ, event(environ.get("GITHUB_EVENT_PATH", "")))
    if environ.get("CODEBUILD_BUILD_ID"):
        return codebuild.read(environ)
    if environ.get("GITLAB_CI") == "true":
        return gitlab.read(environ)
    raise ConfigError(
        "this is no CI system that clew knows: GitHub Actions, CodeBuild, GitLab",
        fix="Run `clew run` for a commit, `clew reconcile` for what is pending.",
    )
