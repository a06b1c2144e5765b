"""Git over HTTP with a user and password: `git http-backend` behind a small WSGI application."""

from __future__ import annotations

import base64
import hmac
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from tests.stand.processes import Child, answers, clean_environment, free_ports, wait_until

USER, PASSWORD = "clew-bot", "stand-git-password"


class GitHttp:
    """Bare repositories in a folder; cloning and pushing need the password."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user, self.password = USER, PASSWORD
        self._child: Child | None = None
        self._port = 0

    def __enter__(self) -> GitHttp:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.repositories.mkdir(parents=True, exist_ok=True)
        (self._port,) = free_ports(1)
        log = self.folder / "git.log"
        with log.open("wb") as output:
            self._child = Child(
                [sys.executable, "-m", "tests.stand.git_http", self.repositories, str(self._port)],
                environment=clean_environment(self.folder / "home"),
                folder=self.folder,
                output=output,
            )
        url = f"http://127.0.0.1:{self._port}/health"
        wait_until(lambda: answers(url), self._child, log, seconds=30)

    @property
    def repositories(self) -> Path:
        return self.folder / "repositories"

    def create(self, name: str) -> str:
        """A new bare repository; its URL without credentials."""
        path = self.repositories / f"{name}.git"
        subprocess.run(
            ["git", "init", "--quiet", "--bare", "--initial-branch=main", path], check=True
        )
        subprocess.run(["git", "-C", path, "config", "http.receivepack", "true"], check=True)
        return f"http://127.0.0.1:{self._port}/{name}.git"

    def with_credentials(self, url: str) -> str:
        return url.replace("://", f"://{self.user}:{self.password}@", 1)

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop(seconds=5)
            self._child = None


class Application:
    """CGI, see https://git-scm.com/docs/git-http-backend"""

    def __init__(self, repositories: Path) -> None:
        self._repositories = repositories
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        self._wanted = f"Basic {token}"

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if request.path == "/health":
            return Response("ok")
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given, self._wanted):
            headers = {"WWW-Authenticate": 'Basic realm="stand"'}
            return Response("Authentication failed", 401, headers)
        done = subprocess.run(
            ["git", "http-backend"],
            env=self._environment(request),
            input=request.get_data(),
            capture_output=True,
            check=False,
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        response = Response(body, 200 if done.returncode == 0 else 500)
        for line in head.decode().splitlines():
            name, _, value = line.partition(": ")
            if name == "Status":
                response.status = value
            else:
                response.headers[name] = value
        return response

    def _environment(self, request: Request) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "GIT_PROJECT_ROOT": str(self._repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string.decode(),
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.content_type or "",
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REMOTE_USER": USER,
            "REMOTE_ADDR": "127.0.0.1",
        }


class Handlers(WSGIRequestHandler):
    """HTTP/1.1, as git's client prefers."""

    protocol_version = "HTTP/1.1"


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    make_server(
        "127.0.0.1",
        int(sys.argv[2]),
        Application(Path(sys.argv[1])),
        threaded=True,
        request_handler=Handlers,
    ).serve_forever()
