"""What Git tells of a repository that adopts clew, and of the checkout that clew came from."""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import clew
from clew.adapters.git_command import Git
from clew.errors import ClewError
from clew.init.source import Source, of_installation, web_url

PACKAGE = "scripts/clew"


def installed_source() -> Source | str:
    """Return where this clew was installed from, or why that can't be told."""
    try:
        said = distribution("clew").read_text("direct_url.json")
    except PackageNotFoundError:
        said = None
    found = of_installation(said)
    if isinstance(found, Source):
        return found
    if found is None:
        return "this clew was not installed from a Git repository"
    return checkout_source(Path(url2pathname(urlsplit(found).path)), Path(clew.__file__).parent)


def checkout_source(checkout: Path, package: Path) -> Source | str:
    """Return a checkout's commit and remote, if the package is that commit's and others get it."""
    git = Git(checkout)
    try:
        sha = git.run("rev-parse", "HEAD").decode().strip()
        url = os.fsdecode(git.run("remote", "get-url", "origin")).strip()
        where = web_url(url)
        if where is None:
            return f"the checkout {checkout} has no remote that others reach"
        if not git.run("branch", "--remotes", "--contains", sha).strip():
            return f"the commit {sha[:12]} of {checkout} was not pushed"
        if not _is_of(git, sha, package):
            return f"the installed clew is not what {checkout} has committed"
    except ClewError as error:
        return error.what.splitlines()[0]
    return Source(where, sha)


def _is_of(git: Git, sha: str, package: Path) -> bool:
    """Tell whether the package's files are those of the commit."""
    rows = git.run("ls-tree", "-r", "-z", "--full-tree", sha, "--", PACKAGE).split(b"\0")
    wanted = {}
    for row in filter(None, rows):
        about, _, path = row.partition(b"\t")
        wanted[os.fsdecode(path).removeprefix(f"{PACKAGE}/")] = about.split()[2].decode()
    present = {
        path.relative_to(package).as_posix(): _blob(path)
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return bool(wanted) and wanted == present


def _blob(path: Path) -> str:
    content = path.read_bytes()
    head = f"blob {len(content)}\0".encode()
    return hashlib.sha1(head + content, usedforsecurity=False).hexdigest()


def has_commit(top: Path) -> bool:
    return Git(top).attempt("rev-parse", "--verify", "--quiet", "HEAD").returncode == 0


def files_below(folder: Path, name: str) -> list[str]:
    """Return the files of a name below a folder, relative to it, that Git does not ignore."""
    listing = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    paths = sorted({os.fsdecode(row) for row in Git(folder).run(*listing).split(b"\0")})
    return [path for path in paths if path.endswith(f"/{name}") and (folder / path).is_file()]


def default_branch(top: Path) -> str | None:
    """Return the remote's default branch: as this clone knows it, or else as the remote says."""
    git = Git(top)
    known = git.attempt("symbolic-ref", "--quiet", "refs/remotes/origin/HEAD").stdout.decode()
    if known.strip():
        return known.strip().removeprefix("refs/remotes/origin/")
    said = git.attempt("ls-remote", "--symref", "origin", "HEAD").stdout.decode(errors="replace")
    first = said.partition("\t")[0]
    return first.removeprefix("ref: refs/heads/") if first.startswith("ref: refs/heads/") else None


def remote_address(top: Path) -> str | None:
    """Return the address of the remote `origin`, or of the only one, as it is configured."""
    git = Git(top)
    names = os.fsdecode(git.run("remote")).split()
    name = "origin" if "origin" in names else next(iter(names), None)
    if name is None:
        return None
    return os.fsdecode(git.run("remote", "get-url", "--", name)).strip()
