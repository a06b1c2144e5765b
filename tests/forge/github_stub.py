"""A small GitHub over HTTP: pull requests, comments and statuses of one repository, in memory.

https://docs.github.com/en/rest
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "a-token"
BOT = "github-actions[bot]"
REPOSITORY = "us/it"
PAGE = 3  # rows of a page at most, so that a few comments are several pages
Answer = tuple[int, dict[str, str], Any]


@dataclass
class GitHubStub:
    """What the server knows; tests look at it and change it."""

    login: str = BOT
    tells_who: bool = False  # GET /user, which a workflow's token may not ask
    rights: set[str] = field(default_factory=lambda: {"comment", "status", "read"})
    pulls: list[dict[str, Any]] = field(default_factory=list)
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=dict)  # by pull request
    statuses: list[dict[str, Any]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    faults: list[Answer] = field(default_factory=list)  # answers to the next requests
    before_write: Callable[[], None] | None = None
    url: str = ""
    lock: Any = field(default_factory=threading.RLock)

    def open_pull(
        self, number: int, branch: str, sha: str, *, base: str = "main", fork: bool = False
    ) -> None:
        head = {"full_name": "stranger/it" if fork else REPOSITORY}
        self.pulls.append(
            {
                "number": number,
                "state": "open",
                "url": f"{self.url}/repos/{REPOSITORY}/pulls/{number}",
                "head": {"ref": branch, "sha": sha, "repo": head, "label": f"us:{branch}"},
                "base": {"ref": base, "sha": "b" * 40, "repo": {"full_name": REPOSITORY}},
            }
        )
        self.comments.setdefault(number, [])

    def add(self, number: int, body: str, login: str = "") -> dict[str, Any]:
        with self.lock:
            identifier = 1 + sum(map(len, self.comments.values())) + len(self.requests) * 1000
            comment = {
                "id": identifier,
                "body": body,
                "user": {"login": login or self.login, "id": 1},
                "url": f"{self.url}/repos/{REPOSITORY}/issues/comments/{identifier}",
            }
            self.comments.setdefault(number, []).append(comment)
            return comment

    def bodies(self, number: int) -> list[str]:
        return [comment["body"] for comment in self.comments[number]]

    # --- what it answers -----------------------------------------------------------------------

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        with self.lock:
            if self.faults:
                return self.faults.pop(0)
        if method in ("POST", "PATCH") and self.before_write:
            act, self.before_write = self.before_write, None
            act()
        for pattern, handler in ROUTES:
            verb, _, shape = pattern.partition(" ")
            if verb == method and (match := re.fullmatch(shape, path, re.IGNORECASE)):
                found: Answer = handler(self, query, body, *match.groups())
                return found
        return 404, {}, {"message": "Not Found"}

    def user(self, _query: Any, _body: Any) -> Answer:
        if not self.tells_who:
            return 403, {}, {"message": "Resource not accessible by integration"}
        return 200, {}, {"login": self.login, "id": 1, "url": f"{self.url}/user"}

    def list_pulls(self, query: dict[str, str], _body: Any) -> Answer:
        wanted = query.get("head", "").partition(":")[2]
        return self._page(query, [p for p in self.pulls if p["head"]["ref"] == wanted], "pulls")

    def get_pull(self, _query: Any, _body: Any, number: str) -> Answer:
        found = [pull for pull in self.pulls if pull["number"] == int(number)]
        return (200, {}, found[0]) if found else (404, {}, {"message": "Not Found"})

    def get_issue(self, _query: Any, _body: Any, number: str) -> Answer:
        url = f"{self.url}/repos/{REPOSITORY}/issues/{number}"
        return 200, {}, {"number": int(number), "url": url}

    def list_comments(self, query: dict[str, str], _body: Any, number: str) -> Answer:
        rows = self.comments.get(int(number), [])
        return self._page(query, rows, f"issues/{number}/comments")

    def create_comment(self, _query: Any, body: Any, number: str) -> Answer:
        if refused := self._refused("comment"):
            return refused
        return 201, {}, self.add(int(number), body["body"])

    def get_comment(self, _query: Any, _body: Any, identifier: str) -> Answer:
        found = self._comment(identifier)
        return (200, {}, found[1]) if found else (404, {}, {"message": "Not Found"})

    def edit_comment(self, _query: Any, body: Any, identifier: str) -> Answer:
        found = self._comment(identifier)
        if not found:
            return 404, {}, {"message": "Not Found"}
        if refused := self._refused("comment"):
            return refused
        found[1]["body"] = body["body"]
        return 200, {}, found[1]

    def delete_comment(self, _query: Any, _body: Any, identifier: str) -> Answer:
        found = self._comment(identifier)
        if not found:
            return 404, {}, {"message": "Not Found"}
        self.comments[found[0]].remove(found[1])
        return 204, {}, None

    def get_commit(self, _query: Any, _body: Any, sha: str) -> Answer:
        return 200, {}, {"sha": sha, "url": f"{self.url}/repos/{REPOSITORY}/commits/{sha}"}

    def create_status(self, _query: Any, body: Any, sha: str) -> Answer:
        if refused := self._refused("status"):
            return refused
        self.statuses.append({"sha": sha, **body})
        return 201, {}, {"url": f"{self.url}/status", **body}

    def _refused(self, right: str) -> Answer | None:
        if right in self.rights:
            return None
        return 403, {}, {"message": "Resource not accessible by integration"}

    def _comment(self, identifier: str) -> tuple[int, dict[str, Any]] | None:
        for number, rows in self.comments.items():
            for row in rows:
                if row["id"] == int(identifier):
                    return number, row
        return None

    def _page(self, query: dict[str, str], rows: list[Any], place: str) -> Answer:
        page = int(query.get("page", "1"))
        shown, more = rows[(page - 1) * PAGE : page * PAGE], len(rows) > page * PAGE
        words = "&".join(f"{key}={value}" for key, value in query.items() if key != "page")
        link = f'<{self.url}/repos/{REPOSITORY}/{place}?{words}&page={page + 1}>; rel="next"'
        return 200, {"Link": link} if more else {}, shown


BASE = f"/repos/{REPOSITORY}"
ROUTES: list[tuple[str, Any]] = [
    ("GET /user", GitHubStub.user),
    (f"GET {BASE}/pulls", GitHubStub.list_pulls),
    (rf"GET {BASE}/pulls/(\d+)", GitHubStub.get_pull),
    (rf"GET {BASE}/issues/(\d+)", GitHubStub.get_issue),
    (rf"GET {BASE}/issues/(\d+)/comments", GitHubStub.list_comments),
    (rf"POST {BASE}/issues/(\d+)/comments", GitHubStub.create_comment),
    (rf"GET {BASE}/issues/comments/(\d+)", GitHubStub.get_comment),
    (rf"PATCH {BASE}/issues/comments/(\d+)", GitHubStub.edit_comment),
    (rf"DELETE {BASE}/issues/comments/(\d+)", GitHubStub.delete_comment),
    (rf"GET {BASE}/commits/([0-9a-f]{{40}})", GitHubStub.get_commit),
    (rf"POST {BASE}/statuses/([0-9a-f]{{40}})", GitHubStub.create_status),
]


@contextmanager
def served(stub: GitHubStub) -> Iterator[GitHubStub]:
    """Serve it on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"null")
            stub.requests.append(f"{self.command} {self.path}")
            if self.headers.get("Authorization") != f"token {TOKEN}":
                answer: Answer = (401, {}, {"message": "Bad credentials"})
            else:
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                answer = stub.answer(self.command, parts.path, query, body)
            self._send(*answer)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def _send(self, status: int, headers: dict[str, str], document: Any) -> None:
            content = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            for key, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
