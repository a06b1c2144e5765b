"""Opening MLflow: what is refused, quickly and by name, and what is never printed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from clew.adapters.mlflow import MlflowTracker
from clew.errors import OutsideError
from clew.identity import RunId


def test_nothing_but_the_answer_is_printed(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from clew.adapters.mlflow import MlflowTracker
folder = Path(sys.argv[1])
tracker = MlflowTracker(f"sqlite:///{folder}/new/mlflow.db", "e", "m", folder / "new/artifacts")
run = tracker.claim("train", "k", "n", {})
(folder / "m").mkdir(); (folder / "m/MLmodel").write_text("flavors: {}")
tracker.save_files(run, folder / "m", "model")
version = tracker.create_version(run, {"run_fingerprint": "k"})
tracker.set_alias("a", version)
import os
assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
from mlflow.telemetry import get_telemetry_client
assert get_telemetry_client() is None
"""
    # Without CI's own variables, which switch telemetry off by themselves.
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")


def test_a_server_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    tracker = MlflowTracker("http://user:secret@127.0.0.1:1", "e", "m", None)
    began = time.monotonic()
    with pytest.raises(OutsideError, match=r"http://127\.0\.0\.1:1 can't be reached") as checked:
        tracker.check()
    with pytest.raises(OutsideError, match=r"MLflow at http://127\.0\.0\.1:1 ") as called:
        tracker.claim("train", "k", "n", {})
    with pytest.raises(OutsideError):
        tracker.has_model(RunId("r"))
    assert time.monotonic() - began < 15
    assert "secret" not in f"{checked.value}{called.value}"


def test_what_answers_but_is_no_server(tmp_path: Path) -> None:
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(1024)
            connection.sendall(b"SSH-2.0-OpenSSH\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(OutsideError, match=uri):
            MlflowTracker(uri, "e", "m", None).check()


@pytest.mark.parametrize("bad", ["under a file", "not a database", "locked"])
def test_a_database_that_cannot_be_used(
    tmp_path: Path, bad: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clew.adapters import mlflow_connection

    monkeypatch.setattr(mlflow_connection, "REACH_SECONDS", 0.2)
    path = tmp_path / "mlflow.db"
    if bad == "under a file":
        path.write_text("")
        path = path / "mlflow.db"
    elif bad == "not a database":
        path.write_bytes(b"no database" * 1000)
    tracker = MlflowTracker(f"sqlite:///{path}", "e", "m", path.parent / "artifacts")
    import contextlib
    import sqlite3

    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as other:
        if bad == "locked":
            other.execute("BEGIN EXCLUSIVE")
        for call in (tracker.check, lambda: tracker.runs({})):
            began = time.monotonic()
            with pytest.raises(OutsideError, match=str(path)):
                call()
            assert time.monotonic() - began < 5


def test_warming_up_hides_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tracker = MlflowTracker(f"sqlite:///{tmp_path}/file/m.db", "e", "m", tmp_path / "file/a")
    tracker.warm_up()
    with pytest.raises(OutsideError, match=r"m\.db"):
        tracker.runs({})
