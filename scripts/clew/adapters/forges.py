"""Which forge a repository is on, from its remote and the CI system's variables."""

from __future__ import annotations

import re
from collections.abc import Mapping

from clew.forge import Forge

# https://HOST/PATH.git, ssh://git@HOST/PATH.git, git@HOST:PATH.git
REMOTE = re.compile(
    r"(?:https?://(?:[^/@]*@)?|ssh://(?:[^/@]*@)?|[\w.-]+@)(?P<host>[\w.-]+)(?::\d+)?[:/]"
    r"(?P<path>[^?#]+?)(?:\.git)?/?"
)
CODECOMMIT = re.compile(
    r"git-codecommit\.(?P<region>[\w-]+)\.amazonaws\.com[/:](?P<path>v1/repos/)(?P<name>[\w.-]+)"
)
GRC = re.compile(r"codecommit::(?P<region>[\w-]+)://(?:[\w.-]+@)?(?P<name>[\w.-]+)")
GITHUB, GITLAB = "github.com", "gitlab.com"


def open_forge(remote: str | None, environ: Mapping[str, str]) -> Forge | None:
    """Return the forge, or None where there is none that clew knows, or no token for it.

    A token goes to no other host than the CI system or the remote itself names.
    """
    if remote is None:
        return None
    if found := CODECOMMIT.search(remote) or GRC.fullmatch(remote):
        from clew.adapters.codecommit import CodeCommit

        return CodeCommit(found["name"], found["region"])
    match = REMOTE.fullmatch(remote)
    host, path = (match["host"], match["path"]) if match else ("", "")
    return _github(host, path, environ) or _gitlab(host, path, environ)


def _github(host: str, path: str, environ: Mapping[str, str]) -> Forge | None:
    token = environ.get("GITHUB_TOKEN") or environ.get("GH_TOKEN")
    in_actions = environ.get("GITHUB_ACTIONS") == "true"
    api = environ.get("GITHUB_API_URL", "") if in_actions else ""
    if not api and host == GITHUB:
        api = "https://api.github.com"
    path = environ.get("GITHUB_REPOSITORY", path) if in_actions else path
    if not (token and api and path):
        return None
    from clew.adapters.github import GitHub

    return GitHub(path, token, api)


def _gitlab(host: str, path: str, environ: Mapping[str, str]) -> Forge | None:
    token = environ.get("GITLAB_TOKEN")
    in_ci = environ.get("GITLAB_CI") == "true"
    server = environ.get("CI_SERVER_URL", "") if in_ci else ""
    if not server and host == GITLAB:
        server = "https://gitlab.com"
    path = environ.get("CI_PROJECT_PATH", path) if in_ci else path
    if not (token and server and path):
        return None
    from clew.adapters.gitlab import GitLab

    return GitLab(path, token, server)
