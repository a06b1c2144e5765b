"""Endpoints are found by what SageMaker says, whatever became of the tags in MLflow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from clew.audit.excluded import Excluded, excluded
from clew.errors import OutsideError
from clew.packages import ARN
from clew.serving import Endpoint, Served
from tests.unit.audit.test_verdicts import Histories, configured

__all__ = ["configured"]
PACKAGE = "arn:aws:sagemaker:eu-west-1:111122223333:model-package/fashion/1"
TAG = "clew.endpoint.live"


@dataclass
class Package:
    properties: dict[str, str]


class OneEndpoint:
    """SageMaker with one endpoint that clew made, and the package that it serves."""

    def __init__(self, fingerprint: str, *, may_list: bool) -> None:
        self.fingerprint, self.may_list = fingerprint, may_list

    def names(self) -> list[str]:
        if not self.may_list:
            raise OutsideError("AccessDenied: sagemaker:ListEndpoints")
        return ["live"]

    def find(self, name: str) -> Endpoint | None:
        return Endpoint(name, "arn", "InService", "config", tags={"clew:pipeline": "fashion"})

    def served(self, config: str) -> Served:
        return Served(config, "model", PACKAGE, {})

    def describe(self, package: str) -> Package:
        return Package({"run_fingerprint": self.fingerprint})


def asked(*, is_tagged: bool, may_list: bool = True) -> Excluded:
    """Ask for bob, who is in the first model alone, which only an endpoint serves."""
    histories = Histories()
    histories.start()
    histories.register(is_logged=True, is_promoted=False, behind=0)
    version = histories.tracker.by_number[1]
    tags = {**version.tags, ARN: PACKAGE, **({TAG: "deployed"} if is_tagged else {})}
    histories.tracker.by_number[1] = replace(version, tags=tags)
    histories.opt_out("bob")
    moment = histories.clock.tick()
    histories.world = {"r0": "ada"}
    histories.register(is_logged=True, is_promoted=True, behind=0)
    there = cast(Any, OneEndpoint(version.tags["run_fingerprint"], may_list=may_list))
    context = replace(histories._context(), endpoints=there, packages=there)
    found = excluded(context, "bob", moment, deployed=True)
    histories.teardown()
    return found


@pytest.mark.parametrize("is_tagged", [True, False])
def test_an_endpoint_is_found_without_its_tag_too(is_tagged: bool) -> None:
    assert asked(is_tagged=is_tagged).verdict == "FAIL"


def test_endpoints_that_may_not_be_listed_pass_nobody() -> None:
    found = asked(is_tagged=False, may_list=False)
    assert found.verdict == "UNVERIFIABLE"
    assert "ListEndpoints" in found.reason
