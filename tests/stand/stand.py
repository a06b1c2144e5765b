"""All parts of the stand, started together or one by one."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import boto3

from tests.stand.client import StandClient
from tests.stand.git_http import GitHttp
from tests.stand.identity import ACCOUNT, CONTROL, REGION, ROLES, role, role_arn
from tests.stand.mlflow_apps import MLFLOW_APP_ARN
from tests.stand.mlflow_server import MlflowServer
from tests.stand.processes import Child, answers, clean_environment, free_ports, wait_until
from tests.stand.seaweedfs import SeaweedFS
from tests.stand.world import Settings

BUCKET = "clew-stand"


class Stand:
    """AWS, as far as clew sees it, in one folder and on free loopback ports.

    `with Stand(folder) as stand:` starts S3 and the endpoint of the other services; an MLflow
    server and Git over HTTP come on request.
    """

    def __init__(
        self,
        folder: Path,
        *,
        mlflow: bool = False,
        git: bool = False,
        bucket: str = BUCKET,
        roles: Sequence[str] = ROLES,
        grace_seconds: float = 120.0,
        starting_seconds: float = 0.2,
    ) -> None:
        self.folder = folder.resolve()
        self.s3_bucket = bucket
        self.account = ACCOUNT
        self.region = REGION
        self.roles = {name: role_arn(name) for name in roles}
        self.role_arn = role_arn(roles[0])
        self.mlflow_app_arn = MLFLOW_APP_ARN
        self.s3 = SeaweedFS(self.folder / "s3", bucket, CONTROL, [role(name) for name in roles])
        self.mlflow = (
            MlflowServer(self.folder / "mlflow", f"s3://{bucket}/mlflow") if mlflow else None
        )
        self.git = GitHttp(self.folder / "git") if git else None
        self._seconds = {"grace_seconds": grace_seconds, "starting_seconds": starting_seconds}
        self._aws: Child | None = None

    def __enter__(self) -> Stand:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """All at once: the slowest part decides how long it takes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.mlflow is not None:
            self.mlflow.begin()
        if self.git is not None:
            self.git.start()
        self.s3.start()
        self._start_aws()
        if self.mlflow is not None:
            self.mlflow.wait()

    def _start_aws(self) -> None:
        port, s3_port = free_ports(2)
        self.settings = Settings(
            folder=str(self.folder / "aws"),
            port=port,
            s3_endpoint=self.s3.endpoint,
            s3_port=s3_port,
            bucket=self.s3_bucket,
            roles=tuple(self.roles),
            mlflow_uri=self.mlflow.uri if self.mlflow else "",
            **self._seconds,
        )
        folder = Path(self.settings.folder)
        folder.mkdir(exist_ok=True)
        self._no_config.touch()
        (folder / "settings.json").write_text(json.dumps(asdict(self.settings)))
        log = folder / "aws.log"
        with log.open("wb") as output:
            self._aws = Child(
                [sys.executable, "-m", "tests.stand.server", folder / "settings.json"],
                environment=clean_environment(folder / "home"),
                folder=folder,
                output=output,
            )
        health = f"{self.settings.endpoint}/stand/health"
        wait_until(lambda: answers(health), self._aws, log, seconds=60)
        self.client = StandClient(self.settings.endpoint)

    @property
    def _no_config(self) -> Path:
        """Nobody's own profile comes in; DVC wants a regular file, so not /dev/null."""
        return self.folder / "aws" / "no-config"

    @property
    def environment(self) -> dict[str, str]:
        """What a client of this AWS has in its environment: the control plane's."""
        found = {
            "AWS_ACCESS_KEY_ID": CONTROL.access_key,
            "AWS_SECRET_ACCESS_KEY": CONTROL.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.settings.endpoint,
            "AWS_ENDPOINT_URL_S3": self.settings.s3_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(self._no_config),
            "AWS_SHARED_CREDENTIALS_FILE": str(self._no_config),
        }
        if self.mlflow is not None:
            found["MLFLOW_TRACKING_URI"] = self.mlflow.uri
            found["SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT"] = self.mlflow.uri
            found["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "2"
        return found

    def boto3(self, service: str, *, role_name: str | None = None, **options: Any) -> Any:
        """A client of the control plane, or of one of the roles."""
        principal = role(role_name) if role_name else CONTROL
        is_s3 = service == "s3"
        return boto3.Session().client(
            service,
            region_name=REGION,
            endpoint_url=self.settings.s3_url if is_s3 else self.settings.endpoint,
            aws_access_key_id=principal.access_key,
            aws_secret_access_key=principal.secret_key,
            **options,
        )

    def push_image(self, repository: str, tag: str) -> str:
        """Put an image of a name into the account's own registry; return its URI by digest."""
        ecr = self.boto3("ecr")
        ecr.create_repository(repositoryName=repository)
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {"digest": f"sha256:{'0' * 64}"},
            "layers": [],
        }
        put = ecr.put_image(
            repositoryName=repository, imageManifest=json.dumps(manifest), imageTag=tag
        )
        registry = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
        return f"{registry}/{repository}@{put['image']['imageId']['imageDigest']}"

    def stop(self) -> None:
        if self._aws is not None:
            self._aws.stop(seconds=15)
            self._aws = None
        self.s3.stop()
        if self.git is not None:
            self.git.stop()
        if self.mlflow is not None:
            self.mlflow.stop()
