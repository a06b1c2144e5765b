"""Runs this repository's workflow files by `act`, on this machine, for a small pipeline.

https://nektosact.com; actions of others are stood in for by those in `actions/`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.system.small import Small

if TYPE_CHECKING:
    from tests.forge.github_stub import GitHubStub

ROOT = Path(__file__).parents[3]
ACT = Path(sys.executable).parent / "act"
ACTIONS = Path(__file__).parent / "actions"
USES = re.compile(r"uses: (?P<action>[\w-]+/[\w-]+)@(?P<ref>[0-9a-f]{40})")
OWN = "uses: ./.github/actions/clew"
ADOPTED = f"uses: example/clew/.github/actions/clew@{'c' * 40}"  # as in others' repositories


@dataclass(frozen=True)
class Workflows(Small):
    """A small pipeline that has the workflows; each run of them is in a clone of its own."""

    told: Mapping[str, str] = field(default_factory=dict, kw_only=True)  # the runner's variables
    secrets: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    uri: str = field(default="", kw_only=True)  # of MLflow, where not a file of the work tree

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def run(self, workflow: str, event_name: str, event: dict[str, Any]) -> Ran:
        """Run a workflow for an event and return what came of it."""
        process = self.start(workflow, event_name, event)
        log, _ = process.communicate(timeout=240)
        return Ran(process.returncode, log)

    def start(self, workflow: str, event_name: str, event: dict[str, Any]) -> subprocess.Popen[str]:
        path = self.folder / f"{event_name}-{uuid4().hex}.json"
        path.write_text(json.dumps({"repository": {"default_branch": "main"}, **event}))
        return subprocess.Popen(
            [*self._command(workflow, event_name), "--eventpath", str(path)],
            cwd=self.work,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _command(self, workflow: str, event_name: str) -> list[str]:
        folder = self.folder / "workflows"
        stood_in = {
            (found["action"], found["ref"])
            for path in folder.glob("*.yml")
            for found in USES.finditer(path.read_text())
        }
        known = [f"{a}@{ref}={ACTIONS / a.partition('/')[2]}" for a, ref in sorted(stood_in)]
        known.append(f"example/clew@{'c' * 40}={self.folder / 'tool'}")
        local = [word for place in known for word in ("--local-repository", place)]
        told = {"CHECKOUT_URL": str(self.origin), "ARTIFACTS": str(self.artifacts), **self.told}
        uri = self.uri or f"sqlite:///{self.work}/.clew/mlflow.db"
        return [
            *(str(ACT), event_name),
            *("--workflows", str(folder / workflow), "--platform", "ubuntu-latest=-self-hosted"),
            *("--no-skip-checkout", "--no-cache-server", "--action-offline-mode", "--rm"),
            *("--var", f"MLFLOW_TRACKING_URI={uri}"),
            *local,
            *(word for row in told.items() for word in ("--env", "=".join(row))),
            *(word for row in self.secrets.items() for word in ("--secret", "=".join(row))),
        ]

    def push(self, before: str, branch: str = "main") -> Ran:
        after = self.git("rev-parse", branch)
        event = {"ref": f"refs/heads/{branch}", "before": before, "after": after}
        return self.run("clew.yml", "push", event)

    def schedule(self) -> Ran:
        return self.run("clew.yml", "schedule", {"schedule": "17 * * * *"})


@dataclass(frozen=True)
class Ran:
    code: int
    log: str

    @property
    def said(self) -> str:
        """The log without act's marks before each line."""
        return re.sub(r"(?m)^\[[^\]]*\]\s+\|? ?", "", self.log)


def on_github(forge: Workflows, stub: GitHubStub) -> Workflows:
    """Return the workflows where a small GitHub takes comments and statuses."""
    from tests.forge.github_stub import REPOSITORY, TOKEN

    here = {"GITHUB_API_URL": stub.url, "GITHUB_REPOSITORY": REPOSITORY}
    return replace(forge, told={**forge.told, **here}, secrets={"GITHUB_TOKEN": TOKEN})


def pull_request(forge: Workflows, action: str, of: str = "us/it") -> dict[str, Any]:
    """Return the event of pull request 7, from the branch `feature` to `main`."""
    sha = forge.git("rev-parse", "HEAD")
    head = {"sha": sha, "ref": "feature", "repo": {"full_name": of}}
    base = {"ref": "main", "repo": {"full_name": "us/it"}}
    change = {"number": 7, "head": head, "base": base}
    return {"action": action, "number": 7, "pull_request": change}


def with_workflows(small: Small) -> Workflows:
    """Give a small pipeline this repository's workflows, and a remote that every clone finds."""
    there = Workflows(small.folder)
    there.dvc("remote", "modify", "storage", "url", str(there.storage))
    there.commit("A remote that every clone finds")
    put_workflows(there.folder)
    return there


def put_workflows(home: Path) -> None:
    """Put this repository's workflows into a folder, as others' repositories have them."""
    folder = home / "workflows"
    shutil.copytree(ROOT / ".github/workflows", folder)
    for path in folder.glob("*.yml"):
        path.write_text(re.sub(rf"{re.escape(OWN)}.*", ADOPTED, path.read_text()))
    shutil.copytree(ACTIONS / "clew", home / "tool/.github/actions/clew")
