"""The process behind one variant of an endpoint: MLflow's scoring server on a loopback port, which
has the two routes that SageMaker asks of a container, see
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

from __future__ import annotations

import tarfile
import time
from pathlib import Path

from tests.stand import container, transfer
from tests.stand.api import Record
from tests.stand.container import Cluster
from tests.stand.image import Image
from tests.stand.models import data_of
from tests.stand.processes import answers, free_ports
from tests.stand.world import World

LOG_GROUP = "/aws/sagemaker/Endpoints"
APPLICATION = "mlflow.pyfunc.scoring_server.app:app"
STARTUP = 120  # seconds, when the variant doesn't say


class Unhealthy(Exception):
    """The container didn't pass its health check; the message is the FailureReason."""


class Server:
    """One variant's container."""

    def __init__(self, world: World, image: Image, endpoint: str, variant: Record) -> None:
        self._world = world
        self._image = image
        self._endpoint = endpoint
        self.variant = variant
        name = f"{variant['VariantName']}-{time.monotonic_ns()}"
        folder = world.folder / "endpoints" / endpoint / name
        self._cluster = Cluster(folder, world.folder / "t", 1)
        self.url = ""

    def start(self, one: Record, role: str) -> None:
        """Run the container and wait until it answers its health check."""
        host = self._cluster.hosts[0]
        host.prepare(self._image)
        try:
            self._unpack(one, role, host.base / "model")
        except Exception as error:
            raise Unhealthy(f"Failed to download model data. {transfer.reason(error)}") from error
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        own = {
            **one.get("Environment", {}),
            "__pyfunc_model_path__": str(_model_folder(host.base / "model")),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        environment = container.environment(self._world, self._cluster, role, self._endpoint, own)
        group = f"{LOG_GROUP}/{self._endpoint}"
        stream = f"{self.variant['VariantName']}/i-{time.time_ns():x}"
        command = ["python", "-m", "uvicorn", APPLICATION, "--host", "127.0.0.1"]
        command += ["--port", str(port), "--no-access-log"]
        host.start(self._image, "code", command, environment, self._world.logs.open(group, stream))
        self._wait_until_healthy()

    def _unpack(self, one: Record, role: str, folder: Path) -> None:
        folder.mkdir(parents=True)
        if data := data_of(one):
            transfer.download(self._world.s3(role), data, folder)
        for archive in folder.glob("*.tar.gz"):
            with tarfile.open(archive) as packed:
                packed.extractall(folder, filter="data")
            archive.unlink()

    def _wait_until_healthy(self) -> None:
        limit = self.variant.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP)
        deadline = time.monotonic() + limit
        host = self._cluster.hosts[0]
        while not answers(f"{self.url}/ping"):
            if host.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise Unhealthy(
                    f"The primary container for production variant {self.variant['VariantName']} "
                    "did not pass the ping health check. Please check CloudWatch logs for this "
                    "endpoint."
                )
            time.sleep(0.1)

    def stop(self) -> None:
        self._cluster.kill()


def _model_folder(folder: Path) -> Path:
    """The archive's own top, or the one folder in it that is an MLflow model."""
    found = sorted(folder.rglob("MLmodel"), key=lambda path: len(path.parts))
    return found[0].parent if found else folder
