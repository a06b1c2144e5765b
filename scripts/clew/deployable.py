"""deployable: which model version may go live, and under which names."""

from __future__ import annotations

import re

from clew import lineage
from clew.context import Context
from clew.errors import ConfigError, NotLive, Unverifiable
from clew.packages import APPROVED, ARN, ModelPackage
from clew.ports import ModelVersion
from clew.serving import Endpoints

NAME = re.compile("[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")  # CreateEndpoint's pattern
MODEL = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[\w.-]+))")


def deployable(
    context: Context, endpoints: Endpoints, model: str, name: str
) -> tuple[ModelVersion, ModelPackage]:
    """Return a model version and its package; ConfigError for what must not go live."""
    refuse_name(name)
    version = _version(context, model)
    arn = version.tags.get(ARN)
    package = context.packages.describe(arn) if context.packages and arn else None
    if package is None:
        raise ConfigError(
            f"{version.uri} has no model package in SageMaker",
            fix="Run its commit with `--executor sagemaker`; nothing is trained again if it was.",
        )
    why = version.tags.get("clew.unfit", "")
    if version.tags.get("clew.gate") != "passed":
        why = "its gates did not pass"
    elif not why and package.approval != APPROVED:
        why = f"its model package is {package.approval}"
    if why:
        raise NotLive(f"{version.uri} must not be deployed: {why}", fix="Deploy another version.")
    disagreeing = [n for n in lineage.NAMES if version.tags.get(n) != package.properties.get(n)]
    if disagreeing:
        raise Unverifiable(
            f"{version.uri} and its model package disagree on {', '.join(disagreeing)}",
            fix=f"See `clew trace {version.uri}`; running its commit again writes both anew.",
        )
    if not endpoints.has_model_data(package.arn):
        raise Unverifiable(
            f"the archive of {package.arn} is not in S3 with the bytes it was registered with",
            fix="Restore it from the bucket's versions, or deploy another version.",
        )
    return version, package


def refuse_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"SageMaker takes no endpoint named {name!r}",
            fix="Use up to 63 letters, digits and single hyphens between them.",
        )


def _version(context: Context, model: str) -> ModelVersion:
    named = MODEL.fullmatch(model)
    version = None
    if named:
        version = context.tracker.version(named["name"], named["version"] or named["alias"])
    if version is None:
        raise ConfigError(
            f"there is no model version {model}",
            fix="Name it as models:/NAME/3 or models:/NAME@ALIAS.",
        )
    return version
