"""Where others install this very clew from: a repository and a full SHA, never a guess."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from clew.errors import ConfigError

GITHUB = "https://github.com/"
TEXT = re.compile(
    r"(?:(?P<url>https://[A-Za-z0-9._~:/%-]+?)|(?P<short>[A-Za-z0-9][\w-]*/[\w.-]+))(?:\.git)?/?"
    r"@(?P<sha>[0-9a-f]{40})",
    re.ASCII,
)
SSH = re.compile(r"(?:ssh://)?git@(?P<host>[\w.-]+)[:/](?P<path>[\w./~-]+)", re.ASCII)
ALLOWED = "OWNER/REPO@SHA or https://host/path@SHA, with all 40 digits of the SHA"


@dataclass(frozen=True)
class Source:
    url: str  # https://…, without .git
    sha: str

    @property
    def on_github(self) -> str | None:
        """OWNER/REPO, None elsewhere."""
        path = self.url.removeprefix(GITHUB)
        is_it = self.url.startswith(GITHUB) and re.fullmatch(r"[\w-]+/[\w.-]+", path, re.ASCII)
        return path if is_it else None

    def __str__(self) -> str:
        return f"{self.on_github or self.url}@{self.sha}"


def parse(text: str) -> Source:
    """Return the source that somebody named; ConfigError says what is allowed."""
    found = TEXT.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"{text[:100]!r} is no source of clew", fix=f"Allowed: {ALLOWED}.")
    return Source(found["url"] or GITHUB + found["short"], found["sha"])


def web_url(remote: str) -> str | None:
    """Return a Git remote's address by https, None for what nobody else reaches."""
    plain = remote.removeprefix("git+").rstrip("/").removesuffix(".git")
    if ssh := SSH.fullmatch(plain):
        plain = f"https://{ssh['host']}/{ssh['path'].lstrip('/')}"
    found = TEXT.fullmatch(f"{plain}@{'0' * 40}")
    return found["url"] if found else None


def of_installation(direct_url: str | None) -> Source | str | None:
    """Return the source that PEP 610's direct_url.json names, or the folder it came from.

    https://packaging.python.org/en/latest/specifications/direct-url/
    """
    try:
        document: Any = json.loads(direct_url or "null")
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    url, vcs = str(document.get("url", "")), document.get("vcs_info")
    if isinstance(vcs, dict):
        where, sha = web_url(url), str(vcs.get("commit_id", ""))
        return Source(where, sha) if where and re.fullmatch("[0-9a-f]{40}", sha) else None
    return url if "dir_info" in document and url.startswith("file://") else None
