"""AWS CodeBuild: its webhook's variables, a schedule, or a build that somebody started.

https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html
"""

from __future__ import annotations

from collections.abc import Mapping

from clew.trigger.model import (
    Kind,
    PullRequest,
    Trigger,
    branch_name,
    nothing,
    number,
    sha,
)
from clew.trigger.variables import inputs

ANSWERED = ("PULL_REQUEST_CREATED", "PULL_REQUEST_UPDATED", "PULL_REQUEST_REOPENED")
RULE = "rule/"  # how CODEBUILD_INITIATOR begins when EventBridge started the build


def read(environ: Mapping[str, str]) -> Trigger:
    """Return the trigger of a build."""
    event = environ.get("CODEBUILD_WEBHOOK_EVENT", "")
    actor = environ.get("CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID", "")
    source = "CODEBUILD_RESOLVED_SOURCE_VERSION"
    commit = sha(environ.get(source), source)
    started, _, what = environ.get("CODEBUILD_WEBHOOK_TRIGGER", "").partition("/")
    initiator = environ.get("CODEBUILD_INITIATOR", "")
    if event == "PUSH" and started == "branch":
        before = "CODEBUILD_WEBHOOK_PREV_COMMIT"
        branch = branch_name(what, "CODEBUILD_WEBHOOK_TRIGGER")
        if commit is None:
            return nothing("the branch was deleted")
        return Trigger(Kind.PUSH, commit, branch, sha(environ.get(before), before), actor=actor)
    if event in ANSWERED:
        head = branch_name(environ.get("CODEBUILD_WEBHOOK_HEAD_REF"), "CODEBUILD_WEBHOOK_HEAD_REF")
        base = branch_name(environ.get("CODEBUILD_WEBHOOK_BASE_REF"), "CODEBUILD_WEBHOOK_BASE_REF")
        named = number(what, "CODEBUILD_WEBHOOK_TRIGGER")
        change = PullRequest(named, base, head, fork=None, head=commit)
        return Trigger(Kind.PULL_REQUEST, commit, head, pull_request=change, actor=actor)
    if event:
        return nothing(f"{event[:50]} of {started[:50] or 'nothing'}")
    if initiator.startswith(RULE):
        return Trigger(Kind.SCHEDULE, commit, actor=initiator)
    return Trigger(Kind.DISPATCH, commit, actor=initiator, inputs=inputs(environ))
