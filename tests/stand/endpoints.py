"""Endpoints: made, updated with the old one still serving, rolled back, deleted, see
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from tests.stand import jobs
from tests.stand.api import Listing, Record, answer_shape, now, operation, project
from tests.stand.errors import validation
from tests.stand.image import Image
from tests.stand.models import Models, containers_of
from tests.stand.serving import Server, Unhealthy
from tests.stand.world import World

LIST = Listing(
    "Endpoints", "EndpointSummary", "EndpointName", status="EndpointStatus", ascending=False
)
Servers = list[Server]
BUSY = frozenset({"Creating", "Updating", "RollingBack", "Deleting"})


class Endpoints:
    """By name, each with the servers that answer for it."""

    def __init__(self, world: World, image: Image, models: Models) -> None:
        self._world = world
        self._image = image
        self._models = models
        self.records: dict[str, Record] = {}
        self._servers: dict[str, list[Server]] = {}
        self._starting: set[Server] = set()
        world.at_exit.append(self._stop_all)

    @operation("CreateEndpoint")
    def create(self, request: Record) -> Record:
        name = request["EndpointName"]
        arn = self._world.arn("endpoint", name)
        jobs.check_tags(request.get("Tags", []))
        self._models.config(request["EndpointConfigName"])
        with self._world.lock:
            if name in self.records:
                raise validation(f'Cannot create already existing endpoint "{arn}".')
            moment = now()
            record = self.records[name] = {
                **request,
                "EndpointArn": arn,
                "EndpointStatus": "Creating",
                "CreationTime": moment,
                "LastModifiedTime": moment,
            }
            self._world.tag(arn, request.get("Tags", []))
        self._in_background(lambda: self._bring_up(record))
        return {"EndpointArn": arn}

    @operation("UpdateEndpoint")
    def update(self, request: Record) -> Record:
        record = self._find(request)
        config = request["EndpointConfigName"]
        self._models.config(config)
        with self._world.lock:
            if record["EndpointStatus"] in BUSY:
                raise validation(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')
            if record["EndpointStatus"] == "Failed":
                raise validation(f'Cannot update failed endpoint "{record["EndpointArn"]}".')
            record.pop("FailureReason", None)
            if "DeploymentConfig" in request:
                record["LastDeploymentConfig"] = request["DeploymentConfig"]
            self._set(record, "Updating")
        self._in_background(lambda: self._replace(record, config))
        return {"EndpointArn": record["EndpointArn"]}

    @operation("DescribeEndpoint")
    def describe(self, request: Record) -> Record:
        return project(self._find(request), answer_shape("DescribeEndpoint"))

    def _find(self, request: Record) -> Record:
        name = request["EndpointName"]
        if name not in self.records:
            raise validation(f'Could not find endpoint "{self._world.arn("endpoint", name)}".')
        return self.records[name]

    @operation("ListEndpoints")
    def list(self, request: Record) -> Record:
        return LIST(self.records.values(), request)

    @operation("DeleteEndpoint")
    def delete(self, request: Record) -> Record:
        record = self._find(request)
        if record["EndpointStatus"] in BUSY:
            raise validation(f'Cannot delete in-progress endpoint "{record["EndpointArn"]}".')
        self._set(record, "Deleting")
        self._in_background(lambda: self._remove(record))
        return {}

    def server(self, name: str, variant: str | None) -> Server | None:
        """Who answers a request: the variant asked for, or one by the variants' weights."""
        servers = self._servers.get(name, [])
        if variant is not None:
            servers = [one for one in servers if one.variant["VariantName"] == variant]
        if not servers:
            return None
        weights = [one.variant.get("InitialVariantWeight", 1.0) for one in servers]
        return random.choices(servers, weights)[0]

    def _bring_up(self, record: Record) -> None:
        try:
            servers = self._start(record, record["EndpointConfigName"])
        except Unhealthy as error:
            self._set(record, "Failed", FailureReason=str(error))
            return
        self._serve(record, record["EndpointConfigName"], servers)

    def _replace(self, record: Record, config: str) -> None:
        """Blue/green: the old servers stay until all new ones are healthy."""
        old = self._servers.get(record["EndpointName"], [])
        try:
            servers = self._start(record, config)
        except Unhealthy as error:
            self._set(record, "RollingBack", FailureReason=str(error))
            self._world.pause()
            self._set(record, "InService")
            return
        self._serve(record, config, servers)
        for server in old:
            server.stop()

    def _start(self, record: Record, config: str) -> Servers:
        self._world.pause()
        started: list[Server] = []
        try:
            for variant in self._models.config(config)["ProductionVariants"]:
                model = self._models.model(variant["ModelName"])
                role = model.get("ExecutionRoleArn", "")
                one = self._models.resolve(containers_of(model)[0], role)
                server = Server(self._world, self._image, record["EndpointName"], variant)
                started.append(server)
                self._starting.add(server)
                server.start(one, role)
        except Exception as error:
            for server in started:
                server.stop()
            raise error if isinstance(error, Unhealthy) else Unhealthy(str(error)) from error
        finally:
            self._starting -= set(started)
        return started

    def _serve(self, record: Record, config: str, servers: Servers) -> None:
        variants = [_summary(server.variant) for server in servers]
        with self._world.lock:
            self._servers[record["EndpointName"]] = servers
            self._set(record, "InService", EndpointConfigName=config, ProductionVariants=variants)

    def _remove(self, record: Record) -> None:
        for server in self._servers.pop(record["EndpointName"], []):
            server.stop()
        with self._world.lock:
            self._world.tags.pop(record["EndpointArn"], None)
            del self.records[record["EndpointName"]]

    def _set(self, record: Record, status: str, **members: object) -> None:
        with self._world.lock:
            record.update(members, EndpointStatus=status, LastModifiedTime=now())

    def _in_background(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True).start()

    def _stop_all(self) -> None:
        for servers in [*self._servers.values(), list(self._starting)]:
            for server in servers:
                server.stop()


def _summary(variant: Record) -> Record:
    count, weight = variant.get("InitialInstanceCount", 1), variant.get("InitialVariantWeight", 1.0)
    return {
        "VariantName": variant["VariantName"],
        "CurrentWeight": weight,
        "DesiredWeight": weight,
        "CurrentInstanceCount": count,
        "DesiredInstanceCount": count,
    }
