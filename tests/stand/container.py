"""The container side of a job: one guarded process per host, with a folder in place of /opt/ml."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.stand.identity import REGION
from tests.stand.image import Image
from tests.stand.logs import Stream
from tests.stand.processes import Child
from tests.stand.world import World

OPT_ML = "/opt/ml"
POLL = 0.05  # seconds
_networks = itertools.count(1)


@dataclass(frozen=True)
class Outcome:
    """How the containers of a job ended: by themselves, or because of an event."""

    event: str  # "" when they ended by themselves
    code: int = 0
    host: int = 0  # index of the host whose code it is


class Host:
    """One instance: its folders, interpreter and process."""

    def __init__(self, name: str, folder: Path, temporary: Path) -> None:
        self.name = name
        self.folder = folder
        self._temporary = temporary
        self.base = folder / "opt" / "ml"
        self._child: Child | None = None
        self._pump: threading.Thread | None = None

    def prepare(self, image: Image) -> None:
        """A fresh instance: nothing of an earlier one is left."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self._temporary, ignore_errors=True)
        for folder in (self.folder / "home", self.base, self._temporary):
            folder.mkdir(parents=True)
        image.python_for(self.folder / "python")

    def local(self, path: str) -> Path:
        """Where a path of the container is on this machine."""
        return Path(self.rewrite(path))

    def rewrite(self, text: str) -> str:
        return text.replace(OPT_ML, str(self.base))

    def start(
        self,
        image: Image,
        work: str,
        command: list[str],
        environment: Mapping[str, str],
        stream: Stream,
    ) -> None:
        """Run the container's command in a folder below /opt/ml."""
        path = [self.folder / "python" / "bin", image.commands]
        own = {
            "PATH": ":".join(map(str, [*path, "/usr/local/bin", "/usr/bin", "/bin"])),
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self._temporary),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
        }
        (self.base / work).mkdir(exist_ok=True)
        command = [self.rewrite(part) for part in command]
        self._child = Child(
            [_found(command[0], path), *command[1:]],
            environment={name: self._value(value) for name, value in environment.items()} | own,
            folder=self.base / work,
            output=subprocess.PIPE,
            container=True,
        )
        self._pump = threading.Thread(target=self._copy_output, args=[stream], daemon=True)
        self._pump.start()

    def _value(self, value: str) -> str:
        return self.rewrite(value) if value.startswith(OPT_ML) else value

    def _copy_output(self, stream: Stream) -> None:
        """What the process prints becomes log events at once; an unfinished line waits."""
        assert self._child is not None
        rest = b""
        while block := self._child.output.read(65536):
            *lines, rest = (rest + block).split(b"\n")
            stream.write([line.decode(errors="replace").rstrip("\r") for line in lines])
        stream.write([rest.decode(errors="replace")])

    def poll(self) -> int | None:
        assert self._child is not None
        return self._child.wait(0)

    def terminate(self) -> None:
        if self._child is not None:
            self._child.terminate()

    def kill(self) -> None:
        """End every process of the container; its output is in the log afterwards."""
        if self._child is not None:
            self._child.kill()
        if self._pump is not None:
            self._pump.join(10)


def _found(command: str, path: list[Path]) -> str:
    """The command in the container's PATH: the guard itself runs with this one's."""
    if "/" not in command:
        for folder in path:
            if (folder / command).exists():
                return str(folder / command)
    return command


class Cluster:
    """All hosts of a job."""

    def __init__(self, folder: Path, temporary: Path, count: int) -> None:
        names = [f"algo-{number}" for number in range(1, count + 1)]
        network = next(_networks)
        # Short, because the path of a Unix socket has 107 bytes at most.
        self.hosts = [
            Host(name, folder / name, temporary / f"{network}-{number}")
            for number, name in enumerate(names, start=1)
        ]
        self.addresses = {
            name: f"127.{100 + network // 250 % 150}.{network % 250 + 1}.{number}"
            for number, name in enumerate(names, start=1)
        }

    def wait(self, event: Callable[[], str], tick: Callable[[], None]) -> Outcome:
        """Until all have ended, one has failed, or something happens from outside."""
        while True:
            codes = [host.poll() for host in self.hosts]
            for index, code in enumerate(codes):
                if code:
                    return Outcome("", code, index)
            if all(code == 0 for code in codes):
                return Outcome("")
            if happened := event():
                return Outcome(happened)
            tick()
            time.sleep(POLL)

    def stop(self, grace: float) -> None:
        """SIGTERM, some time to save what matters, SIGKILL."""
        for host in self.hosts:
            host.terminate()
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and any(host.poll() is None for host in self.hosts):
            time.sleep(POLL)
        self.kill()

    def kill(self) -> None:
        for host in self.hosts:
            host.kill()


def environment(
    world: World, cluster: Cluster, role_arn: str, job: str, own: Mapping[str, str]
) -> dict[str, str]:
    """What every container has, see
    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html

    The endpoints stand in for AWS's DNS; the credentials are those of the job's role and are
    fetched, so no key is in the environment.
    """
    settings = world.settings
    role = role_arn.rpartition("/")[2]
    names = {
        "AWS_ENDPOINT_URL": settings.endpoint,
        "AWS_ENDPOINT_URL_S3": settings.s3_url,
        "STAND_HOSTS": ",".join(f"{name}={ip}" for name, ip in cluster.addresses.items()),
    }
    if settings.mlflow_uri:
        names["SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT"] = settings.mlflow_uri
    return {
        **own,
        **names,
        "AWS_REGION": REGION,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{settings.endpoint}/credentials/{role}/{job}",
        "SM_STUDIO_LOCAL_MODE": "true",  # the toolkit needn't wait for the names of the hosts
    }
