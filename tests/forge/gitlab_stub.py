"""A small GitLab over HTTP: merge requests, notes and commit statuses of one project, in memory.

Requests are held against what https://docs.gitlab.com/api/ documents: merge_requests, notes,
commits (set the pipeline status) and users. What it doesn't name is refused, unlike by GitLab.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.forge.server import Answer, Request, Server

TOKEN = "glpat-a-token"
PROJECT = "group/sub/project"
PROJECT_ID = 11
ME, SOMEBODY = 1, 2  # users
PAGE = 100  # rows at most; https://docs.gitlab.com/api/rest/#offset-based-pagination

PAGES = {"page": r"[1-9]\d*", "per_page": r"[1-9]\d?|100"}
STATE = "pending|running|success|failed|canceled|skipped"
Shape = Mapping[str, str]  # the whole of a value as a pattern, by its name


@dataclass(frozen=True)
class Route:
    pattern: str
    play: Callable[..., Answer]
    query: Shape = field(default_factory=dict)
    body: Shape = field(default_factory=dict)
    required: frozenset[str] = frozenset()


class GitLabStub(Server):
    """What the server knows; tests look at it and change it."""

    def __init__(self) -> None:
        super().__init__()
        self.root = self.url  # what the links between pages begin with
        self.merges: list[dict[str, Any]] = []
        self.notes: dict[int, list[dict[str, Any]]] = {}  # by merge request
        self.statuses: list[dict[str, Any]] = []
        self.refused: list[str] = []  # what no client of GitLab's may send
        self.may_write = True
        self.before_write: Callable[[], object] | None = None
        self._ids = count(1)
        self._routes = self._described()

    def open_merge(self, number: int, branch: str, *, fork: bool = False) -> None:
        self.merges.append(
            {
                "id": 1000 + number,
                "iid": number,
                "state": "opened",
                "source_branch": branch,
                "target_branch": "main",
                "source_project_id": 99 if fork else PROJECT_ID,
                "target_project_id": PROJECT_ID,
            }
        )
        self.notes.setdefault(number, [])

    def add(self, number: int, body: str, user: int = ME) -> dict[str, Any]:
        note = {"id": next(self._ids), "body": body, "author": {"id": user}, "system": False}
        self.notes[number].append(note)
        return note

    def bodies(self, number: int) -> list[str]:
        return [note["body"] for note in self.notes[number]]

    def answer(self, request: Request) -> Answer:
        if request.headers.get("private-token") != TOKEN:
            return Answer(401, {"message": "401 Unauthorized"})
        for route in self._routes:
            method, _, pattern = route.pattern.partition(" ")
            found = re.fullmatch(pattern, request.path)
            if method == request.method and found:
                return self._held(route, request) or route.play(request, *found.groups())
        return self._refuse(f"{request.method} {request.path} is not documented")

    def _described(self) -> list[Route]:
        project = rf"/api/v4/projects/{PROJECT.replace('/', '%2F')}"
        merges = f"{project}/merge_requests"
        notes = rf"{merges}/(\d+)/notes"
        order = {"sort": "asc|desc", "order_by": "created_at|updated_at"}
        filters = {"state": "opened|closed|locked|merged|all", "source_branch": ".+"}
        text = {"body": r"(?s).{1,1000000}"}
        status = {"state": STATE, "name": ".+", "description": r"(?s).{0,255}", "ref": ".+"}
        return [
            Route("GET /api/v4/user", self._user),
            Route(f"GET {merges}", self._list_merges, query=PAGES | filters),
            Route(rf"GET {merges}/(\d+)", self._get_merge),
            Route(f"GET {notes}", self._list_notes, query=PAGES | order),
            Route(f"POST {notes}", self._create_note, body=text, required=frozenset(text)),
            Route(rf"PUT {notes}/(\d+)", self._update_note, body=text, required=frozenset(text)),
            Route(rf"DELETE {notes}/(\d+)", self._delete_note),
            Route(
                rf"POST {project}/statuses/([0-9a-f]{{40}})",
                self._set_status,
                body=status,
                required=frozenset({"state"}),
            ),
        ]

    def _held(self, route: Route, request: Request) -> Answer | None:
        """Return what GitLab says to a request that is not as documented; None when it is."""
        for given, shape in ((request.query, route.query), (request.json, route.body)):
            for name, value in given.items():
                if name not in shape or not re.fullmatch(shape[name], str(value)):
                    return self._refuse(f"{request.method} {request.path}: {name} is invalid")
        if missing := route.required - set(request.json):
            return self._refuse(f"{', '.join(sorted(missing))} is missing")
        if request.method != "GET":
            act, self.before_write = self.before_write, None
            if act:
                act()
            if not self.may_write:
                return Answer(403, {"message": "403 Forbidden"})
        return None

    def _refuse(self, why: str) -> Answer:
        self.refused.append(why)
        return Answer(400, {"error": why})

    def _page(self, request: Request, rows: list[dict[str, Any]]) -> Answer:
        """See https://docs.gitlab.com/api/rest/#pagination"""
        size, page = int(request.query.get("per_page", 20)), int(request.query.get("page", 1))
        shown = rows[(page - 1) * size : page * size]
        more = page * size < len(rows)
        headers = {"x-page": str(page), "x-per-page": str(size)}
        headers["x-next-page"] = str(page + 1) if more else ""
        if more:
            url = f"{self.root}{request.path}?page={page + 1}&per_page={size}"
            headers["Link"] = f'<{url}>; rel="next"'
        return Answer(200, shown, headers)

    def _user(self, request: Request) -> Answer:
        return Answer(200, {"id": ME, "username": "clew"})

    def _list_merges(self, request: Request) -> Answer:
        wanted = {name: request.query.get(name) for name in ("state", "source_branch")}
        found = [
            merge
            for merge in self.merges
            if all(value in (None, merge[name]) for name, value in wanted.items())
        ]
        return self._page(request, found)

    def _get_merge(self, request: Request, number: str) -> Answer:
        found = [merge for merge in self.merges if merge["iid"] == int(number)]
        return Answer(200, found[0]) if found else _missing()

    def _list_notes(self, request: Request, number: str) -> Answer:
        if int(number) not in self.notes:
            return _missing()
        rows = self.notes[int(number)]
        newest_first = request.query.get("sort", "desc") == "desc"
        return self._page(request, rows[::-1] if newest_first else rows)

    def _create_note(self, request: Request, number: str) -> Answer:
        if int(number) not in self.notes:
            return _missing()
        return Answer(201, self.add(int(number), request.json["body"]))

    def _update_note(self, request: Request, number: str, note: str) -> Answer:
        found = self._note(number, note)
        if found is None:
            return _missing()
        found["body"] = request.json["body"]
        return Answer(200, found)

    def _delete_note(self, request: Request, number: str, note: str) -> Answer:
        found = self._note(number, note)
        if found is None:
            return _missing()
        self.notes[int(number)].remove(found)
        return Answer(204)

    def _note(self, number: str, note: str) -> dict[str, Any] | None:
        found = [one for one in self.notes.get(int(number), []) if one["id"] == int(note)]
        return found[0] if found else None

    def _set_status(self, request: Request, commit: str) -> Answer:
        """A status that waits can't begin to wait again: GitLab refuses the transition."""
        given = {"sha": commit, "name": "default", **request.json}
        waiting = [one for one in self.statuses if _same(one, given) and one["state"] == "pending"]
        if waiting and given["state"] == "pending":
            why = 'Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via "enqueue")'  # noqa: E501
            return Answer(400, {"message": why})
        if waiting:
            waiting[0].update(given)
        else:
            self.statuses.append(given)
        return Answer(201, {"id": 1, **given})


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (one["sha"], one["name"]) == (other["sha"], other["name"])


def _missing() -> Answer:
    return Answer(404, {"message": "404 Not found"})
