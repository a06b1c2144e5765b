"""GitHub Actions: its variables, and the event in the file of GITHUB_EVENT_PATH.

https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows
https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clew.errors import ConfigError
from clew.trigger.model import (
    Inputs,
    Kind,
    PullRequest,
    Trigger,
    branch_name,
    nothing,
    number,
    overrides,
    sha,
)

ANSWERED = ("opened", "synchronize", "reopened", "ready_for_review", "edited")


def read(environ: Mapping[str, str], event: Mapping[str, Any]) -> Trigger:
    """Return the trigger of a workflow run; ConfigError for events that clew must not act on."""
    name = environ.get("GITHUB_EVENT_NAME", "")
    actor = environ.get("GITHUB_ACTOR", "")
    match name:
        case "push":
            return _push(event, actor)
        case "pull_request":
            return _pull_request(event, actor)
        case "workflow_dispatch":
            return _dispatch(environ, event, actor)
        case "schedule" | "repository_dispatch":
            return Trigger(Kind.SCHEDULE, sha(environ.get("GITHUB_SHA"), "GITHUB_SHA"), actor=actor)
        case "pull_request_target" | "workflow_run" | "issue_comment":
            raise ConfigError(
                f"clew does not run on {name}: it would hand secrets to code of strangers",
                fix="Use the event pull_request.",
            )
    raise ConfigError(
        f"clew does not know the event {name!r}",
        fix="Use push, pull_request, workflow_dispatch, schedule or repository_dispatch.",
    )


def _push(event: Mapping[str, Any], actor: str) -> Trigger:
    ref = str(event.get("ref", ""))
    if not ref:
        raise ConfigError("the push event has no ref", fix="Start clew from GitHub's own event.")
    if not ref.startswith("refs/heads/"):
        return nothing(f"{ref[:100]!r} is no branch")
    if event.get("deleted"):
        return nothing("the branch was deleted")
    return Trigger(
        Kind.PUSH,
        commit=_needed(event.get("after"), "after"),
        branch=branch_name(ref, "ref"),
        before=sha(event.get("before"), "before"),
        actor=actor,
    )


def _pull_request(event: Mapping[str, Any], actor: str) -> Trigger:
    if event.get("action", "opened") not in ANSWERED:
        return nothing(f"a pull request was {str(event.get('action'))[:50]}")
    change = _object(event, "pull_request")
    head, base = _object(change, "head"), _object(change, "base")
    ours = _object(base, "repo").get("full_name")
    theirs = _object(head, "repo").get("full_name")  # none when the fork was deleted
    return Trigger(
        Kind.PULL_REQUEST,
        commit=_needed(head.get("sha"), "pull_request.head.sha"),
        branch=branch_name(head.get("ref"), "pull_request.head.ref"),
        pull_request=PullRequest(
            number=number(change.get("number") or event.get("number"), "pull_request.number"),
            base_branch=branch_name(base.get("ref"), "pull_request.base.ref"),
            head_branch=branch_name(head.get("ref"), "pull_request.head.ref"),
            fork=theirs is None or theirs != ours,
            head=_needed(head.get("sha"), "pull_request.head.sha"),
        ),
        actor=actor,
    )


def _dispatch(environ: Mapping[str, str], event: Mapping[str, Any], actor: str) -> Trigger:
    asked = _object(event, "inputs")
    ref = str(event.get("ref") or environ.get("GITHUB_REF", ""))
    return Trigger(
        Kind.DISPATCH,
        commit=sha(environ.get("GITHUB_SHA"), "GITHUB_SHA"),
        branch=branch_name(ref, "ref") if ref.startswith("refs/heads/") else None,
        actor=actor,
        inputs=Inputs(
            ref=str(asked.get("ref") or ""),
            params=overrides(asked.get("params")),
            executor=str(asked.get("executor") or ""),
            instance=str(asked.get("instance") or ""),
            reason=str(asked.get("reason") or ""),
        ),
    )


def _object(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = parent.get(key)
    return found if isinstance(found, dict) else {}


def _needed(text: object, key: str) -> Any:
    found = sha(text, key)
    if found is None:
        raise ConfigError(f"the event has no {key}", fix="Start clew from GitHub's own event.")
    return found
