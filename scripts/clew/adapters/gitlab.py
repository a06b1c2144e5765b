"""GitLab, by python-gitlab. https://docs.gitlab.com/api/rest/"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from clew.errors import OutsideError
from clew.forge import Comment, CommentGone, State
from clew.identity import CommitSha
from clew.redaction import without_secrets
from clew.trigger.model import PullRequest, sha

TIMEOUT = 15  # seconds for an answer
PATIENCE = 60  # seconds that a rate limit may ask us to wait
RETRIES = 4
STATES = {State.FAILURE: "failed", State.ERROR: "failed"}  # GitLab's other words
GONE = 404
SAME_STATE = "Cannot transition status"  # it waits already
SHOWN = 200  # characters of what GitLab says
ONCE: dict[str, Any] = {"obey_rate_limit": False}  # urllib3 has waited, as long as it may


class GitLab:
    """One project, as the account that the token belongs to; a job token may not write notes."""

    name = "gitlab"
    characters = 1_000_000

    def __init__(
        self,
        project: str,
        token: str,
        server: str,
        retries: int = RETRIES,
        patience: int = PATIENCE,
    ) -> None:
        import gitlab
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3 import Retry

        session = requests.Session()
        session.max_redirects = 0  # the header with the token would go along, wherever it leads
        retry = Retry(
            total=retries,
            backoff_factor=1,
            backoff_jitter=1,
            status_forcelist=[429, 500, 502, 503, 504],
            allowed_methods=None,
            retry_after_max=patience,
            raise_on_status=False,
        )
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        self._client = gitlab.Gitlab(
            server,
            private_token=token,
            timeout=TIMEOUT,
            session=session,
            per_page=100,
            keep_base_url=True,  # the next page is where the first was
        )
        self._project = self._client.projects.get(project, lazy=True)
        self._user: int | None = None

    def pull_requests(self, branch: str) -> list[PullRequest]:
        with _said():
            found = self._project.mergerequests.list(
                state="opened", source_branch=branch, iterator=True, **ONCE
            )
            return [one for merge in found if (one := _read(merge)).fork is False]

    def pull_request(self, number: int) -> PullRequest | None:
        with _said(fine=_is_missing):
            return _read(self._project.mergerequests.get(number, **ONCE))
        return None

    def comments(self, number: int) -> list[Comment]:
        with _said():
            found = self._notes(number).list(
                order_by="created_at", sort="asc", iterator=True, **ONCE
            )
            return [
                Comment(str(note.id), note.body)
                for note in found
                if note.author["id"] == self._me()
            ]

    def comment(self, number: int, body: str) -> None:
        with _said():
            self._notes(number).create({"body": body}, **ONCE)

    def edit(self, number: int, comment: Comment, body: str) -> None:
        with _said(gone=f"the note {comment.id} was deleted"):
            self._notes(number).update(int(comment.id), {"body": body}, **ONCE)

    def delete(self, number: int, comment: Comment) -> None:
        with _said(fine=_is_missing):
            self._notes(number).delete(int(comment.id), **ONCE)

    def mark(
        self, commit: CommitSha, state: State, description: str, context: str, url: str = ""
    ) -> None:
        with _said(fine=_is_same_state):
            self._project.commits.get(commit, lazy=True).statuses.create(
                {
                    "state": STATES.get(state, state.value),
                    "name": context,
                    "description": description[:255],
                    **({"target_url": url} if url else {}),
                },
                **ONCE,
            )

    def _notes(self, number: int) -> Any:
        return self._project.mergerequests.get(number, lazy=True).notes

    def _me(self) -> int:
        if self._user is None:
            found: Any = self._client.http_get("/user", **ONCE)
            self._user = int(found["id"])
        return self._user


def _read(merge: Any) -> PullRequest:
    fork = merge.source_project_id != merge.target_project_id
    now = sha(merge.attributes.get("sha"), "the head of a merge request")
    return PullRequest(merge.iid, merge.target_branch, merge.source_branch, fork=fork, head=now)


def _is_missing(error: Any) -> bool:
    return bool(error.response_code == GONE)


def _is_same_state(error: Any) -> bool:
    return SAME_STATE in str(error.error_message)


def _never(_error: Any) -> bool:
    return False


@contextmanager
def _said(*, fine: Callable[[Any], bool] = _never, gone: str = "") -> Iterator[None]:
    """Turn what python-gitlab raises into what to do about it."""
    from gitlab.exceptions import GitlabError
    from requests import RequestException

    try:
        yield
    except GitlabError as error:
        if fine(error):
            return
        if gone and _is_missing(error):
            raise CommentGone(gone) from error
        said = " ".join(without_secrets(str(error.error_message)).split())[:SHOWN]
        if error.response_code in (401, 403, GONE):
            raise OutsideError(
                f"GitLab refuses ({error.response_code}): {said}",
                fix="GITLAB_TOKEN needs the scope `api`; CI_JOB_TOKEN may not write notes.",
            ) from error
        raise OutsideError(f"GitLab answered {error.response_code}: {said}") from error
    except RequestException as error:
        raise OutsideError(f"GitLab can't be reached: {type(error).__name__}") from error
