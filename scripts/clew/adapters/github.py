"""GitHub and GitHub Enterprise, by PyGithub. https://docs.github.com/en/rest"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from clew.errors import OutsideError
from clew.forge import Comment, CommentGone, State
from clew.identity import CommitSha
from clew.redaction import without_secrets
from clew.trigger.model import PullRequest, sha

TIMEOUT = 15  # seconds for an answer
PATIENCE = 20  # seconds that a rate limit may ask us to wait
RETRIES = 3
DESCRIPTION = 140  # characters of a commit status
ACTIONS_BOT = "github-actions[bot]"  # the account of a workflow's own token
NEEDED = {
    "comment": "pull-requests: write",
    "status": "statuses: write",
    "pull request": "pull-requests: read",
}


class GitHub:
    """One repository, as the account that the token belongs to."""

    name = "github"
    characters = 65_536

    def __init__(
        self,
        repository: str,
        token: str,
        api: str,
        retries: int = RETRIES,
        patience: int = PATIENCE,
    ) -> None:
        from github import Auth, Github, GithubRetry

        retry = GithubRetry(
            total=retries,
            backoff_factor=1,
            backoff_jitter=1,
            status_forcelist=[429, 500, 502, 503, 504],
            allowed_methods=None,  # all: what was made twice by that is found and removed
            max_rate_limit_wait=patience,
            secondary_rate_wait=min(patience, 60),
            retry_after_max=patience,
            raise_on_status=False,
        )
        # What it says of each refused request is said by its error, too.
        logging.getLogger("github").setLevel(logging.ERROR)
        self._client = Github(
            auth=Auth.Token(token),
            base_url=api,
            timeout=TIMEOUT,
            retry=retry,
            per_page=100,
            seconds_between_requests=None,
            lazy=True,
        )
        self._owner = repository.partition("/")[0]
        self._full_name = repository
        self._repository = self._client.get_repo(repository)
        self._login = ""

    def pull_requests(self, branch: str) -> list[PullRequest]:
        with _said("pull request"):
            found = self._repository.get_pulls(state="open", head=f"{self._owner}:{branch}")
            return [one for pull in found if (one := self._read(pull)).fork is False]

    def pull_request(self, number: int) -> PullRequest | None:
        with _said("pull request"):
            found: PullRequest | None = _or_none(
                lambda: self._read(self._repository.get_pull(number))
            )
            return found

    def comments(self, number: int) -> list[Comment]:
        with _said("comment"):
            found = self._repository.get_issue(number).get_comments()
            return [
                Comment(str(one.id), one.body or "")
                for one in found
                if one.user and one.user.login == self._me()
            ]

    def comment(self, number: int, body: str) -> None:
        with _said("comment"):
            made = self._repository.get_issue(number).create_comment(body)
            # What our account is called, where that may not be asked: older ones are ours too.
            self._login = made.user.login if made.user else self._login

    def edit(self, number: int, comment: Comment, body: str) -> None:
        with _said("comment"):
            if not _or_none(lambda: self._comment(number, comment).edit(body) or True):
                raise CommentGone(f"the comment {comment.id} was deleted")

    def delete(self, number: int, comment: Comment) -> None:
        with _said("comment"):
            _or_none(lambda: self._comment(number, comment).delete())

    def _comment(self, number: int, comment: Comment) -> Any:
        return self._repository.get_issue(number).get_comment(int(comment.id))

    def mark(
        self, commit: CommitSha, state: State, description: str, context: str, url: str = ""
    ) -> None:
        from github.GithubObject import NotSet

        with _said("status"):
            shown = description if len(description) <= DESCRIPTION else description[:139] + "…"
            self._repository.get_commit(commit).create_status(
                state, url or NotSet, description=shown, context=context
            )

    def _me(self) -> str:
        """Return our own login; a workflow's token may not ask for it, but is always the same."""
        from github import GithubException

        if not self._login:
            try:
                self._login = self._client.get_user().login
            except GithubException as error:
                if error.status not in (401, 403):
                    raise
                self._login = ACTIONS_BOT
        return self._login

    def _read(self, pull: Any) -> PullRequest:
        head, base = pull.head.repo, pull.base.repo  # no head: the fork is gone
        fork = head is None or head.full_name.lower() != base.full_name.lower()
        now = sha(pull.head.sha, "the head of a pull request")
        return PullRequest(pull.number, pull.base.ref, pull.head.ref, fork=fork, head=now)


def _or_none(ask: Callable[[], Any]) -> Any:
    from github import UnknownObjectException

    try:
        return ask()
    except UnknownObjectException:
        return None


@contextmanager
def _said(thing: str) -> Iterator[None]:
    """Turn what PyGithub raises into what to do about it."""
    from github import BadAttributeException, GithubException
    from requests import RequestException

    try:
        yield
    except GithubException as error:
        data = error.data if isinstance(error.data, dict) else {}
        said = " ".join(without_secrets(str(data.get("message") or error.message)).split())[:200]
        if error.status in (401, 403, 404) and "rate limit" not in said:
            raise OutsideError(
                f"GitHub refuses ({error.status}): the token may lack `{NEEDED[thing]}`",
                fix="Give it to the job in the workflow, under permissions.",
            ) from error
        raise OutsideError(f"GitHub answered {error.status}: {said}") from error
    except RequestException as error:
        raise OutsideError(f"GitHub can't be reached: {type(error).__name__}") from error
    except (AssertionError, BadAttributeException) as error:  # PyGithub's words for both
        raise OutsideError("GitHub answered what nobody can read") from error
