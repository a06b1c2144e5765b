"""Where clew works: a Git repository and the folder of one pipeline.yaml in it."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from clew.repository import Repository


@dataclass(frozen=True)
class Project:
    """One pipeline of a repository; all paths of its pipeline.yaml are relative to `folder`."""

    repository: Repository
    folder: str = ""  # POSIX, relative to the top of the repository; "" is the top
    file: str = "pipeline.yaml"  # name of the configuration inside the folder

    def path(self, relative: str) -> str:
        """Return a path of this pipeline as Git names it."""
        return posixpath.normpath(posixpath.join(self.folder, relative))
