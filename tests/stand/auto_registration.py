"""What a MLflow App does that registers models by itself: a model package per model version, see
https://docs.aws.amazon.com/sagemaker/latest/dg/mlflow-track-experiments-model-registration.html
"""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.request
from typing import Any

from tests.stand.api import Record, now
from tests.stand.errors import AwsError
from tests.stand.packages import Packages
from tests.stand.world import World

TAG = "sagemaker.model_package_arn"
PAUSE = 0.3  # seconds between two looks


class AutoRegistration:
    """Looks for new model versions on the MLflow server while an App asks for it."""

    def __init__(self, world: World, packages: Packages) -> None:
        self._uri = world.settings.mlflow_uri
        self._packages = packages
        self._stop = threading.Event()
        self._stop.set()

    def set(self, app: Record) -> None:
        enabled = app["ModelRegistrationMode"] == "AutoModelRegistrationEnabled"
        if enabled and self._stop.is_set():
            self._stop.clear()
            threading.Thread(target=self._watch, args=(app["Arn"], now()), daemon=True).start()
        elif not enabled:
            self._stop.set()

    def _watch(self, app: str, since: float) -> None:
        while not self._stop.wait(PAUSE):
            for version in self._ask("search?max_results=200").get("model_versions", []):
                tagged = any(tag["key"] == TAG for tag in version.get("tags", []))
                if not tagged and int(version["creation_timestamp"]) / 1000 > since:
                    self._register(app, version)

    def _register(self, app: str, version: dict[str, Any]) -> None:
        suffix = hashlib.sha256(app.rpartition("/")[2].encode()).hexdigest()[:6]
        group = f"{version['name']}-{suffix}"
        try:
            self._packages.create_group({"ModelPackageGroupName": group})
        except AwsError as error:
            if "already exists" not in str(error):
                raise
        made = self._packages.create(
            {"ModelPackageGroupName": group, "SourceUri": version.get("source", "")}
        )
        tag = {"key": TAG, "value": made["ModelPackageArn"]}
        self._ask("set-tag", {"name": version["name"], "version": version["version"], **tag})

    def _ask(self, path: str, body: dict[str, str] | None = None) -> Any:
        request = urllib.request.Request(
            f"{self._uri}/api/2.0/mlflow/model-versions/{path}",
            data=json.dumps(body).encode() if body else None,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)
