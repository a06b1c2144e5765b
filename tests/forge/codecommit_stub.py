"""A small CodeCommit (and STS) over HTTP: pull requests and comments of one repository, in memory.

Each request and each answer is held against botocore's own description of the service.
https://docs.aws.amazon.com/codecommit/latest/APIReference/Welcome.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count
from typing import Any
from urllib.parse import parse_qs

from tests.forge.server import Answer, Request, Server
from tests.stand.errors import AwsError
from tests.stand.validation import check_request, output_problems, service_model

REGION = "eu-west-1"
REPOSITORY = "project"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:sts::{ACCOUNT}:assumed-role/clew-ci"
SOMEBODY = f"arn:aws:iam::{ACCOUNT}:user/somebody"
CHARACTERS = 10_240  # of a comment, at most
PAGE = 3  # rows of a page at most, so that a few comments are several pages
BASE, HEAD = "b" * 40, "a" * 40
PREFIX = service_model("codecommit").metadata["targetPrefix"]


class CodeCommitStub(Server):
    """What the server knows; tests look at it and change it."""

    def __init__(self) -> None:
        super().__init__()
        self.session = "build-1"  # each run of a CI system has a session of its own
        self.pulls: dict[str, dict[str, Any]] = {}
        self.comments: dict[str, list[dict[str, Any]]] = {}  # by pull request
        self.authors_only = False
        self.denied: set[str] = set()  # operations that the role has no right to
        self.before_write: Callable[[], object] | None = None
        self.problems: list[str] = []
        self._ids = count(1)
        self._tokens: dict[str, dict[str, Any]] = {}
        self._lost: set[str] = set()

    @property
    def me(self) -> str:
        return f"{ROLE}/{self.session}"

    def open_pull(self, number: int, branch: str, repository: str = REPOSITORY) -> None:
        target = {
            "repositoryName": repository,
            "sourceReference": f"refs/heads/{branch}",
            "destinationReference": "refs/heads/main",
            "sourceCommit": HEAD,
            "destinationCommit": BASE,
        }
        self.pulls[str(number)] = {
            "pullRequestId": str(number),
            "pullRequestStatus": "OPEN",
            "pullRequestTargets": [target],
        }
        self.comments.setdefault(str(number), [])

    def add(self, number: int, body: str, author: str = "") -> dict[str, Any]:
        made = next(self._ids)
        comment = {
            "commentId": f"{made:08d}-0000-4000-8000-000000000000",
            "content": body,
            "authorArn": author or self.me,
            "creationDate": 1_750_000_000 + made,
            "deleted": False,
        }
        self.comments[str(number)].append(comment)
        return comment

    def bodies(self, number: int) -> list[str]:
        kept = (comment for comment in self.comments[str(number)] if not comment["deleted"])
        return [comment["content"] for comment in kept]

    def lose_answer(self, operation: str) -> None:
        """Do what is asked the next time, and answer as if something had failed."""
        self._lost.add(operation)

    def answer(self, request: Request) -> Answer:
        if not re.search(r"Credential=[^,]*/aws4_request", request.headers["authorization"]):
            return _failed("MissingAuthenticationTokenException", "the request is not signed")
        if "x-amz-target" not in request.headers:
            return self._sts(request)
        prefix, _, operation = request.headers["x-amz-target"].partition(".")
        try:
            if prefix != PREFIX:
                raise AwsError("UnknownOperationException", prefix)
            check_request("codecommit", operation, request.json)
            if operation in self.denied:
                raise AwsError("AccessDeniedException", _denied(self.me, operation))
            answer = self._played(operation, request.json)
        except AwsError as error:
            if error.code in ("ValidationException", "UnknownOperationException"):
                self.problems.append(str(error))
            return _failed(error.code, error.message)
        self.problems += output_problems("codecommit", operation, answer)
        if operation in self._lost:
            self._lost.remove(operation)
            return Answer(500, {"message": "Internal failure"})
        return Answer(200, answer, content_type="application/x-amz-json-1.1")

    def _played(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        plays: dict[str, Callable[..., dict[str, Any]]] = {
            "ListPullRequests": self._list_pulls,
            "GetPullRequest": self._get_pull,
            "GetCommentsForPullRequest": self._list_comments,
            "PostCommentForPullRequest": self._post,
            "UpdateComment": self._update,
            "DeleteCommentContent": self._delete,
        }
        if operation in ("PostCommentForPullRequest", "UpdateComment", "DeleteCommentContent"):
            act, self.before_write = self.before_write, None
            if act:
                act()
        return plays[operation](given)

    def _sts(self, request: Request) -> Answer:
        asked = parse_qs(request.body.decode())
        if asked.get("Action") != ["GetCallerIdentity"]:
            self.problems.append(f"STS was asked for {asked}")
        answer = (
            '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            f"<GetCallerIdentityResult><Arn>{self.me}</Arn><UserId>AROA:{self.session}</UserId>"
            f"<Account>{ACCOUNT}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
        )
        return Answer(200, answer.encode(), content_type="text/xml")

    def _list_pulls(self, given: dict[str, Any]) -> dict[str, Any]:
        numbers = [
            number
            for number, pull in self.pulls.items()
            if pull["pullRequestStatus"] == given.get("pullRequestStatus", "OPEN")
            and pull["pullRequestTargets"][0]["repositoryName"] == given["repositoryName"]
        ]
        return _page("pullRequestIds", numbers, given)

    def _get_pull(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["pullRequestId"] not in self.pulls:
            raise AwsError("PullRequestDoesNotExistException", given["pullRequestId"])
        return {"pullRequest": self.pulls[given["pullRequestId"]]}

    def _list_comments(self, given: dict[str, Any]) -> dict[str, Any]:
        """One thread for each comment; what was deleted stays, without its content."""
        self._target(given)
        threads = [
            {"pullRequestId": given["pullRequestId"], "comments": [comment]}
            for comment in self.comments[given["pullRequestId"]]
        ]
        return _page("commentsForPullRequestData", threads, given)

    def _target(self, given: dict[str, Any]) -> dict[str, Any]:
        target: dict[str, Any] = self._get_pull(given)["pullRequest"]["pullRequestTargets"][0]
        if given["repositoryName"] != target["repositoryName"]:
            repository = given["repositoryName"]
            raise AwsError("RepositoryNotAssociatedWithPullRequestException", repository)
        return target

    def _post(self, given: dict[str, Any]) -> dict[str, Any]:
        target = self._target(given)
        for side, commit in (("before", "destinationCommit"), ("after", "sourceCommit")):
            if given[f"{side}CommitId"] != target[commit]:
                raise AwsError("CommitDoesNotExistException", given[f"{side}CommitId"])
        _hold(given["content"])
        token = given.get("clientRequestToken", "")
        if token not in self._tokens:
            self._tokens[token] = self.add(int(given["pullRequestId"]), given["content"])
        return {"comment": self._tokens[token]}

    def _update(self, given: dict[str, Any]) -> dict[str, Any]:
        found = self._comment(given["commentId"])
        _hold(given["content"])
        if self.authors_only and found["authorArn"] != self.me:
            raise AwsError("CommentNotCreatedByCallerException", found["authorArn"])
        found["content"] = given["content"]
        return {"comment": found}

    def _delete(self, given: dict[str, Any]) -> dict[str, Any]:
        found = self._comment(given["commentId"])
        found["deleted"] = True
        del found["content"]
        return {"comment": found}

    def _comment(self, identifier: str) -> dict[str, Any]:
        every = [comment for comments in self.comments.values() for comment in comments]
        for comment in every:
            if comment["commentId"] == identifier:
                if comment["deleted"]:
                    raise AwsError("CommentDeletedException", identifier)
                return comment
        raise AwsError("CommentDoesNotExistException", identifier)


def _hold(content: str) -> None:
    if len(content) > CHARACTERS:
        raise AwsError("CommentContentSizeLimitExceededException", str(len(content)))


def _page(name: str, rows: list[Any], given: dict[str, Any]) -> dict[str, Any]:
    start = int(given.get("nextToken", "0"))
    more = {"nextToken": str(start + PAGE)} if start + PAGE < len(rows) else {}
    return {name: rows[start : start + PAGE], **more}


def _denied(caller: str, operation: str) -> str:
    action = f"codecommit:{operation}"
    resource = f"arn:aws:codecommit:{REGION}:{ACCOUNT}:{REPOSITORY}"
    return f"User: {caller} is not authorized to perform: {action} on resource: {resource}"


def _failed(code: str, message: str) -> Answer:
    body = {"__type": code, "message": message}
    return Answer(400, body, content_type="application/x-amz-json-1.1")
