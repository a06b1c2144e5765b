"""Where a story happens: a clone and its origin in a folder of their own, and commands shown."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
IDENTITY = {"NAME": "Demo User", "EMAIL": "demo@example.org"}
PRODUCTION = "models:/fashion-classifier@production"


@dataclass(frozen=True)
class Scene:
    """A folder with `work`, the clone that the story is told in, and `restored`, another one."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def restored(self) -> Path:
        return self.folder / "restored"

    @property
    def environment(self) -> dict[str, str]:
        """The user's environment with this checkout's commands first and Git kept calm."""
        variables = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        for role in ("AUTHOR", "COMMITTER"):
            variables |= {f"GIT_{role}_{key}": value for key, value in IDENTITY.items()}
        path = os.pathsep.join([str(BIN), variables.get("PATH", os.defpath)])
        calm = {"PATH": path, "GIT_PAGER": "cat", "DVC_NO_ANALYTICS": "true"}
        return {**variables, **calm, **self.variables}

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        (self.folder / ".gitignore").write_text("*\n")

    def committed_copy(self) -> Path:
        """Return a repository with this checkout's files; the checkout itself is only read."""
        if (HERE / ".git").exists():
            return HERE
        copy = self.folder / "source"
        ignored = shutil.ignore_patterns(".demo", ".rehearsal", ".venv", ".clew")
        shutil.copytree(HERE, copy, ignore=ignored)
        self.quiet("git", "init", "--quiet", "-b", "main", cwd=copy)
        self.quiet("git", "add", "-A", cwd=copy)
        self.quiet("git", "commit", "--quiet", "-m", "Start", cwd=copy)
        return copy

    # --- what a user does ----------------------------------------------------------------------

    def set_fraction(self, value: str) -> None:
        params = self.work / "params.yaml"
        text = params.read_text()
        params.write_text(re.sub(r"(?m)^(\s+fraction:).*$", rf"\1 {value}", text))
        self.show("git", "diff", "-U0", "--", "params.yaml", ".dvc/config")

    def commit_and_push(self, message: str) -> None:
        self.show("git", "commit", "--quiet", "-am", message)
        self.show("git", "push", "--quiet", "origin", "main")

    def restore(self, origin: str | Path) -> None:
        """Bring back the production model's data from nothing but the model's name."""
        commit = self.model()["data_git_commit_id"]
        self.show("git", "clone", "--quiet", origin, self.restored, cwd=self.folder)
        self.show("git", "checkout", "--quiet", commit, cwd=self.restored)
        self.show("dvc", "pull", "data/prepared", cwd=self.restored)
        self._compare(self.restored / "data/prepared")

    def _compare(self, folder: Path) -> None:
        """Hold every restored file against the manifest, and the whole against the pointer."""
        rows = [row.split(",") for row in (folder / "manifest.csv").read_text().splitlines()]
        path, sha256 = rows[0].index("file_path"), rows[0].index("sha256")
        wrong = [row[path] for row in rows[1:] if self._sha256(folder, row[path]) != row[sha256]]
        if wrong:
            sys.exit(f"{len(wrong)} restored files differ, first {wrong[0]}")
        print(f"{len(rows) - 1} restored files have the sha256 that the manifest names.")
        self.show("dvc", "status", "prepare", cwd=self.restored)

    def _sha256(self, folder: Path, name: str) -> str:
        file = folder / name if (folder / name).exists() else self.restored / name
        return hashlib.sha256(file.read_bytes()).hexdigest()

    def model(self) -> dict[str, str]:
        """Return the lineage that the production model carries."""
        first = self.answer("clew", "trace", "--json", PRODUCTION)["nodes"][0]
        return {fact["key"]: fact["value"] for fact in first["facts"]}

    # --- commands ------------------------------------------------------------------------------

    def show(self, *command: str | Path, cwd: Path | None = None, expect: int = 0) -> None:
        """Run a command, showing it and what it prints; the story ends if it ends otherwise."""
        place = cwd or self.work
        prefix = "" if place == self.folder else "../"
        words = [str(word).replace(f"{self.folder}/", prefix) for word in command]
        print(f"$ {' '.join(words)}", flush=True)
        self.quiet(*command, cwd=place, expect=expect)

    def quiet(self, *command: str | Path, cwd: Path, expect: int = 0) -> None:
        words = [str(word) for word in command]
        code = subprocess.run(words, cwd=cwd, env=self.environment).returncode
        if code != expect:
            sys.exit(f"the story ends here: {command[0]} exited with {code}")

    def answer(self, *command: str, cwd: Path | None = None) -> Any:
        """Return the JSON that a command prints."""
        return json.loads(self.said(*command, cwd=cwd))

    def said(self, *command: str, cwd: Path | None = None) -> str:
        """Return what a command prints."""
        done = subprocess.run(
            command,
            cwd=cwd or self.work,
            env=self.environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.stdout.strip()


def title(text: str) -> None:
    print(f"\n\033[1m=== {text}\033[0m" if sys.stdout.isatty() else f"\n=== {text}", flush=True)
