"""An MLflow tracking server and model registry, on SQLite."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.stand.processes import Child, answers, clean_environment, free_ports, wait_until


class MlflowServer:
    """`mlflow server` with one worker.

    Artifacts go through it into its folder; with an S3 URI clients store them there themselves,
    as with a SageMaker MLflow App.
    """

    def __init__(self, folder: Path, artifacts: str = "") -> None:
        self.folder = folder
        self._artifacts = artifacts
        self._child: Child | None = None
        self.uri = ""

    def __enter__(self) -> MlflowServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait: it takes seconds."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        (self.folder / "artifacts").mkdir(parents=True, exist_ok=True)
        (port,) = free_ports(1)
        self.uri = f"http://127.0.0.1:{port}"
        own = {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"),
        ]
        if self._artifacts:
            command += ["--no-serve-artifacts", "--default-artifact-root", self._artifacts]
        else:
            command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with self._log.open("wb") as output:
            self._child = Child(
                command,
                environment=clean_environment(self.folder / "home") | own,
                folder=self.folder,
                output=output,
            )

    def wait(self) -> None:
        assert self._child is not None
        url = f"{self.uri}/health"
        wait_until(lambda: answers(url), self._child, self._log, seconds=120)

    @property
    def _log(self) -> Path:
        return self.folder / "mlflow.log"

    def stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None
