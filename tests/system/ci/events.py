"""Events as CI systems tell them, for a small pipeline's repository."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.system.small import Small

NONE = "0" * 40


def on_github(small: Small, name: str, event: dict[str, Any], **variables: str) -> Small:
    """Return the pipeline as a workflow run on GitHub sees it."""
    path = Path(small.folder) / "event.json"
    path.write_text(json.dumps(event))
    told = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": name,
        "GITHUB_EVENT_PATH": str(path),
        "GITHUB_ACTOR": "octocat",
        "GITHUB_SHA": small.git("rev-parse", "HEAD"),
        **variables,
    }
    return replace(small, variables={**small.variables, **told})


def pushed(small: Small, before: str, branch: str = "main") -> Small:
    after = small.git("rev-parse", "HEAD")
    event = {"ref": f"refs/heads/{branch}", "before": before, "after": after}
    return on_github(small, "push", event)


def dispatched(small: Small, **inputs: str) -> Small:
    event = {"ref": "refs/heads/main", "inputs": inputs}
    return on_github(small, "workflow_dispatch", event, GITHUB_REF="refs/heads/main")


def scheduled(small: Small) -> Small:
    return on_github(small, "schedule", {"schedule": "17 * * * *"})
