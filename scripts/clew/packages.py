"""The SageMaker model package of a model version: what can be deployed, with the same lineage."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from clew import lineage
from clew.chain import Trace
from clew.config.model import SageMaker
from clew.context import Context
from clew.errors import ClewError, OutsideError
from clew.ports import ModelVersion

if TYPE_CHECKING:
    from clew.evaluate import Evaluation

ARN = "sagemaker.model_package_arn"  # the tag by which a MLflow App names the package it made
APPROVED, REJECTED, PENDING = "Approved", "Rejected", "PendingManualApproval"
SAID = "clew.approval"  # what clew said last, so that a person's decision is not undone
APP_SECONDS = 60.0  # for a MLflow App to register by itself
POLL_SECONDS = 2.0


@dataclass(frozen=True)
class ModelPackage:
    arn: str
    approval: str  # SageMaker's ModelApprovalStatus
    properties: Mapping[str, str]  # its CustomerMetadataProperties
    serves: bool  # has an inference specification


class ModelPackages(Protocol):
    """SageMaker's model registry: one group of packages."""

    def check(self) -> None:
        """Raise ConfigError when the image that serves models is not there."""

    def describe(self, arn: str) -> ModelPackage | None: ...

    def made_by_app(self) -> bool:
        """Tell whether the MLflow App registers every model version by itself."""

    def create(self, job: str, properties: Mapping[str, str], approval: str) -> ModelPackage:
        """Return the package of this run fingerprint, made of a training job's model if need be."""

    def update(
        self, package: ModelPackage, job: str, properties: Mapping[str, str], approval: str
    ) -> None:
        """Write properties and approval, and how it is served where that is missing."""


def ensure_package(
    context: Context, version: ModelVersion, evaluation: Evaluation, unfit: str
) -> ModelVersion:
    """Return the version with the ARN of its one package in its tags; itself without SageMaker."""
    packages = context.packages
    job = _training_job(context, version)
    if packages is None or job is None:
        return version
    approval = _approval(evaluation, unfit)
    properties = {
        **{name: version.tags[name] for name in lineage.NAMES},
        "mlflow_model_version": version.uri,
        "clew.gate": evaluation.verdict,
        SAID: approval,
    }
    arn = version.tags.get(ARN) or (
        _made_by_app(context, version) if packages.made_by_app() else ""
    )
    package = packages.describe(arn) if arn else None
    if package is None:
        package = packages.create(job, properties, approval)
        context.reporter.step("register", f"model package {package.arn}")
    decided = package.properties.get(SAID) == approval
    if not properties.items() <= package.properties.items() or not package.serves:
        packages.update(package, job, properties, package.approval if decided else approval)
    context.tracker.tag_version(version, {ARN: package.arn})
    return context.tracker.version(version.name, str(version.version)) or version


def follow_package(context: Context, trace: Trace, version: ModelVersion) -> None:
    """Add a version's model package to a trace, and hold their lineage against each other."""
    arn = version.tags.get(ARN)
    if arn is None:
        return
    what = f"the model package of {version.uri}"
    try:
        package = context.packages.describe(arn) if context.packages else None
    except ClewError as error:
        trace.check(what, None, error.what)
        return
    if package is None:
        trace.check(what, None, f"{arn} can't be found")
        return
    source = f"DescribeModelPackage {arn}"
    trace.add(arn, "model package", {**package.properties, "approval": package.approval}, source)
    trace.link(version.uri, arn, "packaged as")
    for name in lineage.NAMES:
        there = version.tags.get(name), package.properties.get(name)
        equal = None if None in there else there[0] == there[1]
        evidence = f"tag of {version.uri}: {there[0]}, property of {arn}: {there[1]}"
        trace.check(f"{name} of model version and package", equal, evidence)


def _approval(evaluation: Evaluation, unfit: str) -> str:
    if not evaluation.passed:
        return REJECTED
    return PENDING if unfit else APPROVED


def _training_job(context: Context, version: ModelVersion) -> str | None:
    run = context.tracker.run(version.run_id)
    return run.tags.get("sagemaker.training_job_name") if run else None


def _made_by_app(context: Context, version: ModelVersion) -> str:
    """Wait for the package that the MLflow App makes: a second one would split the lineage."""
    deadline = time.monotonic() + APP_SECONDS
    while time.monotonic() < deadline:
        now = context.tracker.version(version.name, str(version.version))
        if now is not None and ARN in now.tags:
            return now.tags[ARN]
        time.sleep(POLL_SECONDS)
    raise OutsideError(
        f"the MLflow App has made no model package of {version.uri} in {APP_SECONDS:.0f} s",
        fix="Run it again in a while, or disable the App's automatic model registration.",
    )


def group_name(settings: SageMaker, model: str) -> str:
    """Return the model package group: a model's name without what a group can't be called."""
    plain = re.sub("[^a-zA-Z0-9]+", "-", model).strip("-")[:63].strip("-")
    return settings.model_package_group or plain
