"""The process that is AWS: `python -m tests.stand.server SETTINGS.json`."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from tests.stand import s3_proxy
from tests.stand.admin import Admin
from tests.stand.api import Handler, operations_of
from tests.stand.auto_registration import AutoRegistration
from tests.stand.endpoints import Endpoints
from tests.stand.gateway import Gateway
from tests.stand.image import Image
from tests.stand.invocation import Invocation
from tests.stand.lineage import Lineage
from tests.stand.mlflow_apps import MlflowApps
from tests.stand.models import Models
from tests.stand.packages import Packages
from tests.stand.processing import Processing
from tests.stand.search import Search
from tests.stand.tags import Tags
from tests.stand.training import Training
from tests.stand.world import Settings, World


class Handlers(WSGIRequestHandler):
    """HTTP/1.1, so that clients keep their connections."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the client's ACK


def build(world: World) -> Gateway:
    """All parts of the account, put together."""
    image = Image(world.folder / "image")
    lineage = Lineage(world)
    training = Training(world, image, lineage.job_made)
    processing = Processing(world, image, lineage.job_made)
    packages = Packages(world)
    models = Models(world, packages.package)
    endpoints = Endpoints(world, image, models)
    search = Search(
        world,
        {
            "TrainingJob": (training.records.values, "TrainingJobArn"),
            "ModelPackage": (packages.packages.values, "ModelPackageArn"),
            "ModelPackageGroup": (packages.groups.values, "ModelPackageGroupArn"),
            "Endpoint": (endpoints.records.values, "EndpointArn"),
            "ExperimentTrialComponent": (
                lambda: lineage.of_kind("TrialComponent"),
                "TrialComponentArn",
            ),
        },
    )
    operations: dict[str, Handler] = lineage.operations()
    parts = (training, processing, packages, models, endpoints, search)
    for part in (*parts, MlflowApps(world, AutoRegistration(world, packages)), Tags(world)):
        operations |= operations_of(part)
    admin = Admin(world, training.interrupt)
    return Gateway(world, operations, admin, Invocation(endpoints))


def main(settings: dict[str, Any]) -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    world = World(Settings(**settings | {"roles": tuple(settings["roles"])}))
    gateway = build(world)
    s3_proxy.start(world)
    port = world.settings.port
    server = make_server("127.0.0.1", port, gateway, threaded=True, request_handler=Handlers)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    for clean in world.at_exit:
        clean()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
