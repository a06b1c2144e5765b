"""GitLab CI: its predefined variables.

https://docs.gitlab.com/ci/variables/predefined_variables/
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

DISPATCHED = ("web", "api", "trigger", "chat", "pipeline")


def read(environ: Mapping[str, str]) -> Trigger:
    """Return the trigger of a pipeline."""
    source = environ.get("CI_PIPELINE_SOURCE", "")
    actor = environ.get("GITLAB_USER_LOGIN", "")
    commit = sha(environ.get("CI_COMMIT_SHA"), "CI_COMMIT_SHA")
    branch = environ.get("CI_COMMIT_BRANCH", "")
    if source == "merge_request_event":
        return _merge_request(environ, actor)
    if source == "schedule":
        return Trigger(Kind.SCHEDULE, commit, actor=actor)
    if not branch:
        return nothing(f"{environ.get('CI_COMMIT_TAG', source)[:100]!r} is no branch")
    where = branch_name(branch, "CI_COMMIT_BRANCH")
    if source == "push":
        before = sha(environ.get("CI_COMMIT_BEFORE_SHA"), "CI_COMMIT_BEFORE_SHA")
        return Trigger(Kind.PUSH, commit, where, before, actor=actor)
    if source in DISPATCHED:
        return Trigger(Kind.DISPATCH, commit, where, actor=actor, inputs=inputs(environ))
    return nothing(f"a pipeline of the kind {source[:50]!r}")


def _merge_request(environ: Mapping[str, str], actor: str) -> Trigger:
    """Return the head of the source branch: of a merged result nobody has the commit later."""
    head = branch_name(
        environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"), "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"
    )
    base = branch_name(
        environ.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME"), "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"
    )
    from_source, merged = "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", "CI_COMMIT_SHA"
    commit = sha(environ.get(from_source), from_source) or sha(environ.get(merged), merged)
    theirs = environ.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID")
    return Trigger(
        Kind.PULL_REQUEST,
        commit=commit,
        branch=head,
        pull_request=PullRequest(
            number(environ.get("CI_MERGE_REQUEST_IID"), "CI_MERGE_REQUEST_IID"),
            base,
            head,
            fork=not theirs or theirs != environ.get("CI_MERGE_REQUEST_PROJECT_ID"),
            head=commit,
        ),
        actor=actor,
    )
