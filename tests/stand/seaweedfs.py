"""S3: SeaweedFS with one versioned bucket and credentials that are checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
from botocore.config import Config

from tests.stand.identity import REGION, Principal
from tests.stand.processes import Child, clean_environment, free_ports, wait_until

PARTS = ("master", "volume", "filer", "s3", "admin")


class SeaweedFS:
    """`weed mini`: one process, its data in a folder, on free ports."""

    def __init__(
        self, folder: Path, bucket: str, admin: Principal, others: Sequence[Principal] = ()
    ) -> None:
        self.folder = folder
        self.bucket = bucket
        self._identities = [_identity(admin, ["Admin", "Read", "List", "Tagging", "Write"])]
        for other in others:
            actions = [f"{right}:{bucket}" for right in ("Read", "List", "Tagging", "Write")]
            self._identities.append(_identity(other, actions))
        self._admin = admin
        self._child: Child | None = None
        self.endpoint = ""

    def __enter__(self) -> SeaweedFS:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        (self.folder / "s3.json").write_text(json.dumps({"identities": self._identities}))
        ports = free_ports(2 * len(PARTS))
        http = dict(zip(PARTS, ports, strict=False))
        grpc = dict(zip(PARTS, ports[len(PARTS) :], strict=True))
        self.endpoint = f"http://127.0.0.1:{http['s3']}"
        log = self.folder / "seaweedfs.log"
        with log.open("wb") as output:
            self._child = Child(
                self._command(data, http, grpc),
                environment=clean_environment(self.folder / "home")
                | {"WEED_S3_SSE_KEK": "5a" * 32},
                folder=self.folder,
                output=output,
                remove=[Path(f"/tmp/seaweedfs-{part}-grpc-{grpc[part]}.sock") for part in PARTS],
            )
        self._client = self.client(self._admin)
        wait_until(self._ready, self._child, log, seconds=60)

    def _command(self, data: Path, http: dict[str, int], grpc: dict[str, int]) -> list[str]:
        ports = [f"-{part}.port={http[part]}" for part in PARTS]
        ports += [f"-{part}.port.grpc={grpc[part]}" for part in PARTS]
        return [
            *("weed", "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *ports,
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"),
            *(f"-filer.localSocket={data}/filer.sock", f"-s3.localSocket={data}/s3.sock"),
            *(f"-s3.config={self.folder / 's3.json'}", f"-bucket={self.bucket}"),
            *("-volume.preStopSeconds=0", "-s3.autoCreateBucket=false"),
        ]

    def _ready(self) -> bool:
        """The bucket comes a moment after the port; without versioning it isn't ready for us."""
        try:
            self._client.put_bucket_versioning(
                Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"}
            )
            made = self._client.put_object(Bucket=self.bucket, Key=".stand", Body=b"")
            self._client.delete_object(
                Bucket=self.bucket, Key=".stand", VersionId=made["VersionId"]
            )
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
            return False
        return True

    def client(self, principal: Principal) -> Any:
        """A boto3 client that speaks to this server directly."""
        return boto3.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=principal.access_key,
            aws_secret_access_key=principal.secret_key,
            config=Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=30),
        )

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop(seconds=10)
            self._child = None


def _identity(principal: Principal, actions: list[str]) -> dict[str, Any]:
    keys = {"accessKey": principal.access_key, "secretKey": principal.secret_key}
    return {"name": principal.name, "credentials": [keys], "actions": actions}
