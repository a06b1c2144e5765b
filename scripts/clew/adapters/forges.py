"""Which forge a repository is on, from its remote and the CI system's variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from clew.errors import ConfigError
from clew.forge import Forge

HOST = r"(?P<host>[\w.-]+)"
PATH = r"/?(?P<path>[\w./-]+?)(?:\.git)?/?"
NAME = r"(?P<name>[\w.-]+)"
REGION = r"(?P<region>[a-z]{2}(?:-[a-z]+)+-\d+)"
USER = r"(?:[\w.~%!$&'()*+,;=:-]*@)?"  # RFC 3986, section 3.2.1
# https://HOST/PATH.git, ssh://git@HOST/PATH.git
URL = re.compile(rf"(?i:https?|ssh)://{USER}{HOST}(?::\d+)?/{PATH}", re.ASCII)
# git@HOST:PATH.git
SCP = re.compile(rf"[\w.-]+@{HOST}:{PATH}", re.ASCII)
# https://docs.aws.amazon.com/codecommit/latest/userguide/regions.html
CODECOMMIT = re.compile(
    rf"(?i:https|ssh)://{USER}git-codecommit(?:-fips)?\.{REGION}\.amazonaws\.com(?:\.cn)?"
    rf"(?::\d+)?/v1/repos/{NAME}/?",
    re.ASCII,
)
# https://docs.aws.amazon.com/codecommit/latest/userguide/setting-up-git-remote-codecommit.html
GRC = re.compile(rf"codecommit:(?::{REGION}:)?//(?:[\w.-]+@)?{NAME}", re.ASCII)
OWNED = re.compile(r"(?!\.{1,2}/)[\w.-]+/(?!\.{1,2}$)[\w.-]+", re.ASCII)
GROUPED = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)+", re.ASCII)
# The second names are SSH's over the port of HTTPS.
GITHUB, GITLAB = ("github.com", "ssh.github.com"), ("gitlab.com", "altssh.gitlab.com")
TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Place:
    """Where reports go, and what opens it."""

    forge: str
    server: str  # the address of its API; the region of CodeCommit
    repository: str
    token: str = field(default="", repr=False)


def open_forge(remote: str | None, environ: Mapping[str, str]) -> Forge | None:
    """Return the forge, or None where there is none that clew knows, or no token for it.

    ConfigError when the forge's package is not installed or the token can't be one.
    """
    place = place_of(remote, environ)
    if place is None:
        return None
    try:
        return _opened(place)
    except ImportError as error:
        extra = "sagemaker" if place.forge == "codecommit" else "forges"
        fix = f"Install it with `pip install 'clew[{extra}]'`."
        raise ConfigError(f"reports need a package that is missing: {error}", fix=fix) from error


def place_of(remote: str | None, environ: Mapping[str, str]) -> Place | None:
    """Return where reports go; a token goes to no host but the CI system's or the remote's own."""
    if remote is None:
        return None
    if found := CODECOMMIT.fullmatch(remote) or GRC.fullmatch(remote):
        region = found["region"] or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        return Place("codecommit", region, found["name"]) if region else None
    match = URL.fullmatch(remote) or SCP.fullmatch(remote)
    host, path = (match["host"].lower(), match["path"]) if match else ("", "")
    return _github(host, path, environ) or _gitlab(host, path, environ)


def _github(host: str, path: str, environ: Mapping[str, str]) -> Place | None:
    api = "https://api.github.com" if host in GITHUB else ""
    if environ.get("GITHUB_ACTIONS") == "true":
        api = environ.get("GITHUB_API_URL") or api
        path = environ.get("GITHUB_REPOSITORY", path)
    if not (api and OWNED.fullmatch(path)):
        return None
    token = _token(environ, "GITHUB_TOKEN", "GH_TOKEN")
    return Place("github", api, path, token) if token else None


def _gitlab(host: str, path: str, environ: Mapping[str, str]) -> Place | None:
    server = "https://gitlab.com" if host in GITLAB else ""
    if environ.get("GITLAB_CI") == "true":
        server = environ.get("CI_SERVER_URL") or server
        path = environ.get("CI_PROJECT_PATH", path)
    if not (server and GROUPED.fullmatch(path)):
        return None
    token = _token(environ, "GITLAB_TOKEN")
    return Place("gitlab", server, path, token) if token else None


def _token(environ: Mapping[str, str], *names: str) -> str:
    """Return the first token that is set; errors of HTTP libraries show a header they refuse."""
    for name in names:
        token = environ.get(name, "").strip()
        if token and not TOKEN.fullmatch(token):
            raise ConfigError(f"{name} is no token: it has blanks, line ends or letters like é")
        if token:
            return token
    return ""


def _opened(place: Place) -> Forge:
    if place.forge == "codecommit":
        from clew.adapters.codecommit import CodeCommit

        return CodeCommit(place.repository, place.server)
    if place.forge == "gitlab":
        from clew.adapters.gitlab import GitLab

        return GitLab(place.repository, place.token, place.server)
    from clew.adapters.github import GitHub

    return GitHub(place.repository, place.token, place.server)
