"""A small GitHub that remembers; every answer has all that GitHub's own description asks for.

It stands behind Prism, which holds each request and answer against that description.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from tests.forge.server import Answer, Request, Server

DESCRIPTION = Path(__file__).parent / "openapi" / "github.json"
WHEN = "2026-01-02T03:04:05Z"
HEAD = "f" * 40  # of every branch
FORMATS = {"uri": "https://example.org/", "date-time": WHEN, "email": "a@example.org"}
Described = Mapping[str, Any]


class Sample:
    """Makes the smallest value that fits a schema: required properties only, null where it may."""

    def __init__(self) -> None:
        self.description = json.loads(DESCRIPTION.read_text("utf-8"))

    def of(self, schema: str, /, **known: Any) -> dict[str, Any]:
        """Return an object of a named schema with these properties."""
        made: dict[str, Any] = self._value({"$ref": f"#/components/schemas/{schema}"})
        return made | known

    def _value(self, schema: Described) -> Any:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return self._value(self.description["components"]["schemas"][name])
        if schema.get("nullable"):
            return None
        if "enum" in schema:
            return schema["enum"][0]
        for choice in ("oneOf", "anyOf", "allOf"):
            if choice in schema:
                return self._value(schema[choice][0])
        return self._plain(schema)

    def _plain(self, schema: Described) -> Any:
        kind = schema.get("type", "object")
        if kind == "object":
            properties = schema.get("properties", {})
            return {name: self._value(properties[name]) for name in schema.get("required", ())}
        if kind == "array":
            return [self._value(schema["items"]) for _ in range(schema.get("minItems", 0))]
        if kind == "string":
            return FORMATS.get(schema.get("format", ""), "x" * schema.get("minLength", 1))
        return {"integer": schema.get("minimum", 1), "number": 1.0, "boolean": False}[kind]


class Upstream(Server):
    """Repository owner/project with the open pull request 7 of the branch `feature`."""

    login = "clew-bot"

    def __init__(self) -> None:
        super().__init__()
        self.root = self.url  # where clew reaches it, which is what its answers point to
        self.comments: dict[int, dict[str, Any]] = {}
        self.statuses: list[dict[str, Any]] = []
        self.on_write: list[Answer] = []  # answers to the next requests that are no GET
        self.before_edit: Callable[[], object] | None = None
        self._ids = count(1)
        self._sample = Sample()

    def say(self, body: str, login: str = login) -> None:
        """Leave a comment, as somebody who uses the web page does."""
        self._new_comment(body, login)

    def forget(self) -> None:
        """Be as new."""
        self.comments.clear()
        self.statuses.clear()
        self.requests.clear()
        self.on_write.clear()
        self.before_edit = None
        self._failures.clear()

    def answer(self, request: Request) -> Answer:
        if request.method != "GET" and self.on_write:
            return self.on_write.pop(0)
        for route, play in self._routes().items():
            method, _, pattern = route.partition(" ")
            found = re.fullmatch(pattern, request.path)
            if found and method == request.method:
                return play(request, *found.groups())
        return _missing()

    def _routes(self) -> dict[str, Callable[..., Answer]]:
        repository = "/repos/owner/project"
        return {
            "GET /user": self._get_user,
            f"GET {repository}/pulls": self._list_pulls,
            f"GET {repository}/pulls/([0-9]+)": self._get_pull,
            f"GET {repository}/issues/([0-9]+)": self._get_issue,
            f"GET {repository}/issues/7/comments": self._list_comments,
            f"POST {repository}/issues/7/comments": self._create_comment,
            f"GET {repository}/issues/comments/([0-9]+)": self._get_comment,
            f"PATCH {repository}/issues/comments/([0-9]+)": self._update_comment,
            f"DELETE {repository}/issues/comments/([0-9]+)": self._delete_comment,
            f"GET {repository}/commits/([0-9a-f]+)": self._get_commit,
            f"POST {repository}/statuses/([0-9a-f]+)": self._create_status,
        }

    def _user(self, login: str) -> dict[str, Any]:
        return self._sample.of("simple-user", login=login)

    def _get_user(self, request: Request) -> Answer:
        return Answer(body=self._sample.of("public-user", login=self.login))

    def _pull(self, schema: str, number: int) -> dict[str, Any]:
        pull = self._sample.of(
            schema,
            number=number,
            state="open",
            url=f"{self.root}/repos/owner/project/pulls/{number}",
        )
        for side, branch in (("head", "feature"), ("base", "main")):
            owned = pull[side] or {}
            repository = self._sample.of("repository", full_name="owner/project", name="project")
            pull[side] = owned | {"ref": branch, "repo": repository, "sha": HEAD}
        return pull

    def _list_pulls(self, request: Request) -> Answer:
        shown = request.query.get("head") in (None, "owner:feature")
        pulls = [self._pull("pull-request-simple", 7)] if shown else []
        return Answer(body=pulls)

    def _get_pull(self, request: Request, number: str) -> Answer:
        return Answer(body=self._pull("pull-request", 7)) if number == "7" else _missing()

    def _get_issue(self, request: Request, number: str) -> Answer:
        url = f"{self.root}/repos/owner/project/issues/{number}"
        found = self._sample.of("issue", number=int(number), url=url)
        return Answer(body=found) if number == "7" else _missing()

    def _list_comments(self, request: Request) -> Answer:
        size, page = int(request.query.get("per_page", 30)), int(request.query.get("page", 1))
        every = list(self.comments.values())
        shown = every[(page - 1) * size : page * size]
        following = f"{self.root}{request.path}?per_page={size}&page={page + 1}"
        link = {"Link": f'<{following}>; rel="next"'} if page * size < len(every) else {}
        return Answer(body=shown, headers=link)

    def _create_comment(self, request: Request) -> Answer:
        return Answer(201, self._new_comment(request.json["body"], self.login))

    def _new_comment(self, body: str, login: str) -> dict[str, Any]:
        number = next(self._ids)
        url = f"{self.root}/repos/owner/project/issues/comments/{number}"
        made = self._sample.of(
            "issue-comment", id=number, body=body, url=url, user=self._user(login)
        )
        self.comments[number] = made
        return made

    def _get_comment(self, request: Request, number: str) -> Answer:
        found = self.comments.get(int(number))
        return Answer(body=found) if found else _missing()

    def _update_comment(self, request: Request, number: str) -> Answer:
        act, self.before_edit = self.before_edit, None
        if act:
            act()
        if int(number) in self.comments:
            self.comments[int(number)]["body"] = request.json["body"]
        return self._get_comment(request, number)

    def _delete_comment(self, request: Request, number: str) -> Answer:
        return Answer(204) if self.comments.pop(int(number), None) else _missing()

    def _get_commit(self, request: Request, commit: str) -> Answer:
        return Answer(body=self._sample.of("commit", sha=commit, url=f"{self.root}{request.path}"))

    def _create_status(self, request: Request, commit: str) -> Answer:
        made = self._sample.of("status", **request.json)
        self.statuses.append({"sha": commit, **request.json})
        return Answer(201, made)


def _missing() -> Answer:
    return failure(404, "Not Found")


def failure(status: int, message: str, **headers: str) -> Answer:
    """Return an error in GitHub's form."""
    body = {"message": message, "documentation_url": "https://example.org/", "status": str(status)}
    return Answer(status, body, {name.replace("_", "-"): text for name, text in headers.items()})
