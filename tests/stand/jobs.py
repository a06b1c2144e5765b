"""What training and processing jobs have in common: checks before they start, and their thread."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moto.ecr.models import ecr_backends
from moto.iam.models import iam_backends

from tests.stand import transfer
from tests.stand.api import Record, now
from tests.stand.container import Cluster
from tests.stand.errors import AwsError, validation
from tests.stand.identity import ACCOUNT, REGION, role
from tests.stand.image import Image
from tests.stand.logs import Stream
from tests.stand.transfer import keys_under, reason, split
from tests.stand.world import World

CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. "
    "Please retry using a different ML instance type or after some time."
)
INTERNAL = "InternalServerError: We encountered an internal error. Please try again."
ENDED = frozenset({"Completed", "Failed", "Stopped"})
FAILURE_LENGTH = 1024  # characters of the failure file that SageMaker shows
OWN_IMAGE = re.compile(rf"{ACCOUNT}\.dkr\.ecr\.[^/]+/([^:@]+)(?:[:@](.+))?")


class JobFailed(Exception):
    """The job ends as Failed with this reason."""


def check_role(world: World, arn: str) -> None:
    """SageMaker tries to assume the role before it accepts a job."""
    name = arn.rpartition("/")[2]
    for found in iam_backends[ACCOUNT]["aws"].roles.values():
        if found.name == name and _trusts_sagemaker(found.assume_role_policy_document):
            return
    raise validation(
        f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role."
    )


def _trusts_sagemaker(document: str) -> bool:
    statements = json.loads(document)["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else principal
        named = [services] if isinstance(services, str) else services
        if statement["Effect"] == "Allow" and {"sagemaker.amazonaws.com", "*"} & set(named):
            return True
    return False


def check_objects(world: World, uri: str, role_arn: str) -> None:
    """An input without a single object is refused at once."""
    try:
        if keys_under(world.s3(role_arn), uri):
            return
        why = ""
    except Exception as error:
        why = f" Error message from S3: {reason(error)}"
    raise validation(
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure '
        f"that the bucket exists in the selected region ({REGION}), that objects exist under "
        f'that S3 prefix, and that the role "{role_arn}" has "s3:ListBucket" permissions on '
        f'bucket "{split(uri)[0]}".{why}'
    )


def check_image(image: str) -> None:
    """An image in the account's own registry must be there; all others are AWS's."""
    found = OWN_IMAGE.fullmatch(image)
    if not found:
        return
    repository = ecr_backends[ACCOUNT][REGION].repositories.get(found[1])
    reference = found[2] or "latest"
    images = repository.images if repository else []
    if not any(reference in (image.image_digest, *(image.image_tags or [])) for image in images):
        raise AwsError("ValidationException", f"Requested image {image} not found.")


def check_tags(tags: list[dict[str, str]]) -> None:
    keys = [tag["Key"] for tag in tags]
    if len(set(keys)) < len(keys):
        raise validation("Duplicate tag keys found. Tag keys must be unique.")
    if any(key.lower().startswith("aws:") for key in keys):
        raise validation("Invalid tag key: the aws: prefix is reserved.")


class JobThread:
    """Runs one job; what happens to it from outside arrives as events."""

    def __init__(
        self, world: World, image: Image, record: Record, kind: str, instances: int
    ) -> None:
        self.world = world
        self.image = image
        self.record = record
        self.name: str = record[f"{kind.capitalize()}JobName"]
        self.folder = world.folder / kind / self.name
        self.s3 = world.s3(record["RoleArn"])
        self.cluster = Cluster(self.folder, world.folder / "t", instances)
        self.stopping = threading.Event()
        self.interrupted = threading.Event()
        self._thread = threading.Thread(target=self._guarded, name=self.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def run(self) -> None:
        raise NotImplementedError

    def fail(self, why: str) -> None:
        raise NotImplementedError

    def _guarded(self) -> None:
        try:
            self.run()
        except JobFailed as error:
            self.fail(str(error))
        except Exception as error:
            # A bug of the stand must not leave a job running for ever.
            self.fail(f"InternalServerError: the stand itself failed: {error!r}")
            raise

    def update(self, **members: Any) -> None:
        with self.world.lock:
            self.record.update(members, LastModifiedTime=now())

    def wait_for_instances(self) -> None:
        """Starting takes its time; a stop ends it early."""
        slow = self.world.faults.job_fault("slow", self.name)
        self.stopping.wait(slow.seconds if slow else self.world.settings.starting_seconds)
        if self.stopping.is_set():
            return
        if self.world.faults.job_fault("capacity", self.name):
            raise JobFailed(CAPACITY)
        if self.world.faults.job_fault("internal", self.name):
            raise JobFailed(INTERNAL)

    def download(self, uri: str, folder: Path, shard: int | None) -> None:
        """An input of one host: all objects, or its share of them."""
        count = len(self.cluster.hosts)
        chosen = list if shard is None else (lambda keys: keys[shard::count])
        transfer.download(self.s3, uri, folder, chosen)

    def open_log(self, group: str, stream: str) -> Stream:
        """A log stream of this job; on AWS its role makes it and writes to it."""
        principal = role(self.record["RoleArn"].rpartition("/")[2])
        for operation in ("CreateLogGroup", "CreateLogStream", "PutLogEvents"):
            where = {"logGroupName": group}
            self.world.calls.add("logs", operation, principal, 200, resource=where)
        return self.world.logs.open(group, f"{self.name}/{stream}")

    def abandon(self) -> None:
        """The stand ends: nothing of the job may stay."""
        self.cluster.kill()

    def deadline(self, seconds: float | None) -> Callable[[], bool]:
        """Whether so many seconds have passed from now."""
        end = time.monotonic() + seconds if seconds is not None else float("inf")
        return lambda: time.monotonic() > end
