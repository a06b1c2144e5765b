"""AWS CodeCommit, by boto3.

https://docs.aws.amazon.com/codecommit/latest/APIReference/Welcome.html
It has no commit status, and no forks.
"""

from __future__ import annotations

import uuid
from typing import Any

from clew.adapters.aws import Aws, translated
from clew.errors import OutsideError
from clew.forge import Comment, CommentGone, State
from clew.identity import CommitSha
from clew.trigger.model import PullRequest, sha

HEADS = "refs/heads/"


class CodeCommit:
    """One repository, as the role that the credentials belong to."""

    name = "codecommit"
    characters = 10_240

    def __init__(self, repository: str, region: str) -> None:
        self._aws = Aws(region)
        self._repository = repository
        self._arn = ""

    @property
    def _client(self) -> Any:
        return self._aws.client("codecommit")

    @translated
    def pull_requests(self, branch: str) -> list[PullRequest]:
        pages = self._client.get_paginator("list_pull_requests").paginate(
            repositoryName=self._repository, pullRequestStatus="OPEN"
        )
        numbers = [int(number) for page in pages for number in page["pullRequestIds"]]
        found = [self._read(number) for number in numbers]
        return [one for one in found if one and one.head_branch == branch]

    @translated
    def pull_request(self, number: int) -> PullRequest | None:
        try:
            return self._read(number)
        except self._client.exceptions.PullRequestDoesNotExistException:
            return None

    @translated
    def comments(self, number: int) -> list[Comment]:
        pages = self._client.get_paginator("get_comments_for_pull_request").paginate(
            pullRequestId=str(number), repositoryName=self._repository
        )
        threads = [thread for page in pages for thread in page["commentsForPullRequestData"]]
        found = [comment for thread in threads for comment in thread.get("comments", ())]
        mine = (
            comment
            for comment in found
            if not comment.get("deleted") and _account(comment.get("authorArn", "")) == self._me()
        )
        ordered = sorted(mine, key=lambda comment: comment["creationDate"])
        return [Comment(comment["commentId"], comment.get("content", "")) for comment in ordered]

    @translated
    def comment(self, number: int, body: str) -> None:
        target = self._target(number)
        if target is None:
            raise OutsideError(f"the pull request {number} is one of another repository")
        self._client.post_comment_for_pull_request(
            pullRequestId=str(number),
            repositoryName=self._repository,
            beforeCommitId=target["destinationCommit"],
            afterCommitId=target["sourceCommit"],
            content=body,
            clientRequestToken=str(uuid.uuid4()),
        )

    @translated
    def edit(self, number: int, comment: Comment, body: str) -> None:  # noqa: ARG002
        gone = self._client.exceptions
        try:
            self._client.update_comment(commentId=comment.id, content=body)
        except (gone.CommentDeletedException, gone.CommentDoesNotExistException):
            raise CommentGone(f"the comment {comment.id} was deleted") from None
        except gone.CommentNotCreatedByCallerException:
            # Our role in an earlier session wrote it; what may not be edited may be deleted.
            self._client.delete_comment_content(commentId=comment.id)
            raise CommentGone(f"the comment {comment.id} had to be deleted") from None

    @translated
    def delete(self, number: int, comment: Comment) -> None:  # noqa: ARG002
        gone = self._client.exceptions
        try:
            self._client.delete_comment_content(commentId=comment.id)
        except (gone.CommentDeletedException, gone.CommentDoesNotExistException):
            return

    def mark(
        self, commit: CommitSha, state: State, description: str, context: str, url: str = ""
    ) -> None:
        """Do nothing: the verdict is in the comment alone."""

    def _read(self, number: int) -> PullRequest | None:
        target = self._target(number)
        if target is None:
            return None
        base, head = target["destinationReference"], target["sourceReference"]
        now = sha(target["sourceCommit"], "the head of a pull request")
        base, head = base.removeprefix(HEADS), head.removeprefix(HEADS)
        return PullRequest(number, base, head, fork=False, head=now)

    def _target(self, number: int) -> Any:
        """Return where a pull request leads; None when that is another repository.

        Numbers count through all repositories of a region.
        """
        found = self._client.get_pull_request(pullRequestId=str(number))["pullRequest"]
        targets = found["pullRequestTargets"]
        ours = (one for one in targets if one["repositoryName"] == self._repository)
        return next(ours, None)

    def _me(self) -> str:
        if not self._arn:
            self._arn = _account(self._aws.client("sts").get_caller_identity()["Arn"])
        return self._arn


def _account(arn: str) -> str:
    """Return an ARN without the name of a role's session, which each CI run has anew."""
    return arn.rpartition("/")[0] if ":assumed-role/" in arn else arn
