"""Credentials in URLs work, and are shown and recorded nowhere."""

from __future__ import annotations

import base64
import functools
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.system.small import Small

SECRET = "tok3n-that-opens-doors"
EXPECTED = "Basic " + base64.b64encode(f"bob:{SECRET}".encode()).decode()


class Guarded(SimpleHTTPRequestHandler):
    """A read-only folder for those who know the password."""

    def do_GET(self) -> None:
        self._answer(super().do_GET)

    def do_HEAD(self) -> None:
        self._answer(super().do_HEAD)

    def _answer(self, method: object) -> None:
        if self.headers.get("Authorization") != EXPECTED:
            self.send_error(401)
        else:
            assert callable(method)
            method()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def guarded(ran: Small) -> Iterator[Small]:
    """The small pipeline, its data behind a URL with a password, about to train again."""
    handler = functools.partial(Guarded, directory=str(ran.storage))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://bob:{SECRET}@127.0.0.1:{server.server_port}"
        ran.dvc("remote", "modify", "storage", "url", url)
        ran.edit("params.yaml", "lr: 0.5", "lr: 0.6")
        ran.commit("Train again, by HTTP")
        yield ran
        server.shutdown()


def test_a_password_of_the_data_remote_stays_secret(guarded: Small) -> None:
    commands = ["run", "check", "trace models:/small-model/2", "resolve", "run --dry-run"]
    for command in commands:
        for form in ("", " -v", " --json"):
            done = guarded.clew(*(command + form).split())
            assert done.returncode == 0, done.stderr
            assert SECRET not in done.stdout + done.stderr, command
    recorded = b"".join(path.read_bytes() for path in _records(guarded.work / ".clew"))
    assert b"127.0.0.1" in recorded
    assert SECRET.encode() not in recorded


def test_a_password_is_left_out_of_failures(guarded: Small) -> None:
    for path in guarded.storage.rglob("*"):
        if path.is_file() and path.suffix != ".dir":
            path.unlink()
    done = guarded.clew("run", "-v")
    assert done.returncode == 3
    assert SECRET not in done.stdout + done.stderr


def test_a_remote_that_does_not_answer_is_not_taken_for_empty(guarded: Small) -> None:
    guarded.dvc("remote", "modify", "storage", "url", f"http://bob:{SECRET}@127.0.0.1:9")
    guarded.commit("Nobody listens there")
    for command in ("run", "check"):
        done = guarded.clew(command)
        assert "can't be reached" in done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr
        assert done.returncode in (2, 4)


def _records(state: Path) -> Iterator[Path]:
    """Yield what others get to see: the database and the artifacts, not the job's own input."""
    yield from state.glob("mlflow.db*")
    yield from (path for path in state.glob("artifacts/**/*") if path.is_file())
    yield from state.glob("jobs/*/log")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_what_a_stage_prints_of_a_url_is_shown_without_its_password(
    small: Small, form: tuple[str, ...]
) -> None:
    url = f"https://bob:{SECRET}@example.org/data?signature={SECRET}"
    small.edit("stages/train.py", "import json", f"print('{url}')\nimport json")
    small.edit("stages/train.py", '"the loss is NaN"', f"'{url} is gone'")
    small.edit("params.yaml", "fail: false", "fail: true")
    small.commit("Fetch")
    assert small.clew("version").returncode == 0
    detached = small.clew("run", "--detach", "--json")
    waited = small.clew("wait", json.loads(detached.stdout)["detached"], *form)
    assert waited.returncode == 4, waited.stderr
    assert "https://example.org/data" in waited.stderr
    assert SECRET not in waited.stdout + waited.stderr
