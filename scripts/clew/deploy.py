"""deploy, rollback, undeploy: a model version on a SageMaker endpoint, tested or not at all.

SageMaker is the only state. An endpoint's tags name the config that passed its smoke test last, and
are written in one call after it did: whatever is live besides is unfinished, and the same command
goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clew import lineage
from clew.config.model import SageMaker
from clew.context import Context
from clew.errors import ClewError, ConfigError, OutsideError, Unverifiable
from clew.packages import APPROVED, ARN, ModelPackage
from clew.plan import PlannedStep
from clew.ports import ModelVersion
from clew.serving import (
    DEPLOYED,
    FAILED,
    IN_SERVICE,
    NAME,
    NAME_CHARACTERS,
    OF_ENDPOINT,
    PIPELINE,
    PREVIOUS,
    ROLLED_BACK,
    Endpoint,
    Endpoints,
    Part,
    release_name,
)
from clew.trace import MODEL_URI

LIVE_NAMES = ("run_fingerprint", "data_git_commit_id")  # an endpoint's tags, without `clew:`
PACKAGED = "mlflow_model_version"
NO_EXAMPLE = "the model has no input example: only checked to be InService"
UNCOUNTED = "the input example was answered; how many rows it has can't be told"


class NotDeployed(ClewError):
    """A model must not be served, or did not serve; what was live before still is."""

    exit_code = 1


@dataclass(frozen=True)
class Release:
    """A model version as it is served on one endpoint."""

    name: str  # of its SageMaker model and its endpoint config
    version: ModelVersion
    package: ModelPackage
    model_data: str  # S3 URI

    def tags(self, context: Context) -> dict[str, str]:
        """Return the tags of whatever serves this release."""
        facts = {name: self.package.properties[name] for name in LIVE_NAMES}
        return lineage.job_tags(context, facts)


@dataclass(frozen=True)
class Deployed:
    """What an endpoint serves now."""

    endpoint: str
    release: Release
    smoke_test: str  # how it was tested; empty when nothing changed
    previous: str  # the config that `rollback` goes back to, if any

    @property
    def changed(self) -> bool:
        return bool(self.smoke_test)

    def as_json(self) -> dict[str, Any]:
        version = self.release.version
        return {
            "endpoint": self.endpoint,
            "model": version.uri,
            "changed": self.changed,
            "smoke_test": self.smoke_test or None,
            "endpoint_config": self.release.name,
            "previous": self.previous or None,
            "model_package": self.release.package.arn,
            **{name: version.tags[name] for name in LIVE_NAMES},
        }


@dataclass(frozen=True)
class Undeployed:
    endpoint: str
    existed: bool
    deleted: tuple[Part, ...]
    kept: tuple[Part, ...]  # another endpoint needs them

    def as_json(self) -> dict[str, Any]:
        return {
            "endpoint": self.endpoint,
            "existed": self.existed,
            "deleted": [part._asdict() for part in self.deleted],
            "kept": [part._asdict() for part in self.kept],
        }


def deploy(context: Context, endpoints: Endpoints, model: str, name: str) -> Deployed:
    """Bring a model version onto an endpoint: made, or updated blue/green, then smoke-tested.

    NotDeployed when the endpoint or the test fails; the endpoint then is as it was before.
    """
    release = _release(context, endpoints, _version(context, model), name)
    found = _ready(context, endpoints, name)
    if found is not None and _is_live(context, found, release):
        return Deployed(name, release, "", found.tags.get(PREVIOUS, ""))
    example = endpoints.input_example(release.model_data)
    tags, before = release.tags(context), found.tags.get(DEPLOYED, "") if found else ""
    endpoints.make(release.name, release.package.arn, {**tags, OF_ENDPOINT: name})
    _refuse_other_content(endpoints, release)
    if found is None:
        context.reporter.step("deploy", f"{release.version.uri} on the new endpoint {name}")
        endpoints.create(name, release.name, tags)
    elif found.config != release.name:
        context.reporter.step("deploy", f"{release.version.uri} on {name}, now {found.config}")
        endpoints.update(name, release.name)
    live, tested = _tested(context, endpoints, name, release, example, before)
    previous = live.tags.get(PREVIOUS, "") if before == release.name else before
    history = {DEPLOYED: release.name, PREVIOUS: previous, ROLLED_BACK: ""}
    endpoints.tag(live, {**tags, **history})
    return Deployed(name, release, tested, previous)


def rollback(context: Context, endpoints: Endpoints, name: str) -> Deployed:
    """Bring back what an endpoint served before; a rollback is not undone by another.

    NotDeployed when that fails its smoke test or must not be served any more.
    """
    _existing(context, endpoints, name)
    found = _ready(context, endpoints, name)
    if found is None:
        raise _no_endpoint(name)
    release = _former(context, endpoints, found)
    example = endpoints.input_example(release.model_data)
    before = found.tags.get(DEPLOYED, "")
    if found.config != release.name:
        context.reporter.step("rollback", f"{name} from {found.config} to {release.version.uri}")
        endpoints.update(name, release.name)
    live, tested = _tested(context, endpoints, name, release, example, before)
    history = {DEPLOYED: release.name, PREVIOUS: "", ROLLED_BACK: before}
    if before == release.name:  # what was live had never passed its test
        history = {DEPLOYED: before}
    endpoints.tag(live, {**release.tags(context), **history})
    return Deployed(name, release, tested, history.get(PREVIOUS, found.tags.get(PREVIOUS, "")))


def undeploy(context: Context, endpoints: Endpoints, name: str) -> Undeployed:
    """Delete an endpoint, and the configs and models that clew made for it alone."""
    found = _own(context, endpoints, name)
    deleted, kept = _parts(context, endpoints, name)
    if found is not None and endpoints.settled(name, context.reporter.line) is not None:
        context.reporter.step("undeploy", f"endpoint {name}")
        _delete(context, endpoints, name)
    for part in deleted:
        context.reporter.step("undeploy", f"{part.kind} {part.name}")
        endpoints.discard(part)
    return Undeployed(name, found is not None, tuple(deleted), tuple(kept))


# --- plans: what each would do, refusing what it would refuse --------------------------------


def plan_deploy(
    context: Context, endpoints: Endpoints, model: str, name: str
) -> list[PlannedStep]:
    release = _release(context, endpoints, _version(context, model), name)
    found = _own(context, endpoints, name)
    there = endpoints.config(release.name) is not None
    made = f"{release.name}, SageMaker model and endpoint config of {release.version.uri}"
    steps = [PlannedStep("config", "exists" if there else "create", made)]
    if found is None or found.status == FAILED:
        return [*steps, PlannedStep("endpoint", "create", name)]
    if _is_live(context, found, release) and found.status == IN_SERVICE:
        return [*steps, PlannedStep("endpoint", "exists", f"{name} serves it")]
    return [*steps, _update(found, release)]


def plan_rollback(context: Context, endpoints: Endpoints, name: str) -> list[PlannedStep]:
    found = _existing(context, endpoints, name)
    return [_update(found, _former(context, endpoints, found))]


def plan_undeploy(context: Context, endpoints: Endpoints, name: str) -> list[PlannedStep]:
    found = _own(context, endpoints, name)
    deleted, kept = _parts(context, endpoints, name)
    steps = [PlannedStep("endpoint", "delete", name)] if found else []
    steps += [PlannedStep(part.kind, "delete", part.name) for part in deleted]
    return steps + [PlannedStep(part.kind, "exists", f"{part.name}, needed") for part in kept]


def _update(found: Endpoint, release: Release) -> PlannedStep:
    detail = f"{found.name} from {found.config} to {release.name} ({release.version.uri})"
    waits = "" if found.status == IN_SERVICE else f" when it is no longer {found.status}"
    return PlannedStep("endpoint", "update", detail + waits)


# --- what may be served ----------------------------------------------------------------------


def _version(context: Context, model: str) -> ModelVersion:
    match = MODEL_URI.fullmatch(model)
    if match is None:
        raise ConfigError(
            f"{model} names no model version",
            fix="Write models:/NAME/VERSION or models:/NAME@ALIAS.",
        )
    found = context.tracker.version(match["name"], match["version"] or match["alias"])
    if found is None:
        raise ConfigError(f"MLflow at {context.tracker.uri} has no {model}")
    return found


def _release(
    context: Context, endpoints: Endpoints, version: ModelVersion, endpoint: str
) -> Release:
    """Return how a version is served; refuses what must not be."""
    if len(endpoint) > NAME_CHARACTERS or not NAME.fullmatch(endpoint):
        raise ConfigError(
            f"an endpoint can't have the name '{endpoint}'",
            fix=f"Use letters, digits and single hyphens inside, at most {NAME_CHARACTERS}.",
        )
    package = _package(context, version)
    container = endpoints.container(package.arn)
    if container is None:
        raise ConfigError(
            f"the model package {package.arn} does not say how it is served",
            fix="`clew register` on its commit writes that.",
        )
    settings = settings_of(context)
    chosen = [package.arn, *container, settings.serving.role or settings.role, settings.kms_key]
    chosen += [settings.serving.instance.type, settings.serving.instance.count]
    fingerprint = version.tags["run_fingerprint"]
    name = release_name(context.pipeline.name, endpoint, fingerprint, chosen)
    return Release(name, version, package, container.model_data)


def settings_of(context: Context) -> SageMaker:
    """Return executor.sagemaker; ConfigError where pipeline.yaml has none."""
    settings = context.pipeline.executor.sagemaker
    if settings is None:
        raise ConfigError(
            "an endpoint needs executor.sagemaker in pipeline.yaml",
            fix="Name role, region, s3_prefix, image and instance there, and commit it.",
        )
    return settings


def _package(context: Context, version: ModelVersion) -> ModelPackage:
    """Return a version's approved package, held against the version."""
    arn = version.tags.get(ARN)
    if arn is None or context.packages is None:
        raise ConfigError(
            f"{version.uri} has no SageMaker model package",
            fix="Models trained with `clew run --executor sagemaker` have one.",
        )
    _refuse_unfit(version)
    package = context.packages.describe(arn)
    if package is None:
        raise ConfigError(
            f"the model package of {version.uri} is gone: {arn}",
            fix="`clew register` on its commit makes it again.",
        )
    wanted = {name: version.tags.get(name) for name in lineage.NAMES} | {PACKAGED: version.uri}
    other = [name for name, value in wanted.items() if package.properties.get(name) != value]
    if other:
        raise Unverifiable(
            f"{version.uri} and its model package {arn} disagree on {', '.join(other)}",
            fix=f"See `clew trace {version.uri}`.",
        )
    if package.approval != APPROVED:
        raise NotDeployed(
            f"the model package of {version.uri} is {package.approval}, not {APPROVED}",
            fix=f"Approve {arn} in SageMaker's model registry first, or deploy another version.",
        )
    return package


def _refuse_unfit(version: ModelVersion) -> None:
    unfit, gate = version.tags.get("clew.unfit"), version.tags.get("clew.gate")
    if not unfit and gate == "passed":
        return
    why = unfit or f"the verdict of its gates is {gate or 'missing'}"
    raise NotDeployed(f"{version.uri} must not be served: {why}", fix="Deploy another version.")


def _former(context: Context, endpoints: Endpoints, found: Endpoint) -> Release:
    """Return what to roll back to: from an unfinished deployment, what is proven."""
    proven, previous = found.tags.get(DEPLOYED, ""), found.tags.get(PREVIOUS, "")
    # Live but not proven yet, the previous one is a rollback that was cut off.
    config = previous if found.config in (proven, previous) else proven
    if not config:
        undone = found.tags.get(ROLLED_BACK)
        already = f": it was rolled back from {undone} already" if undone else ""
        raise ConfigError(
            f"there is nothing that {found.name} could go back to{already}",
            fix=f"Bring a model there with `clew deploy MODEL --endpoint {found.name}`.",
        )
    there = endpoints.config(config)
    packages = {arn for model in there.models for arn in model.packages or ()} if there else set()
    arn = packages.pop() if len(packages) == 1 else None
    package = context.packages.describe(arn) if arn and context.packages else None
    container = endpoints.container(package.arn) if package else None
    version = version_of(context, package) if package else None
    if package is None or version is None or container is None:
        raise ConfigError(
            f"{found.name} can't go back to {config}: its model or its package is gone",
            fix=f"Bring a model there with `clew deploy MODEL --endpoint {found.name}`.",
        )
    return Release(config, version, _package(context, version), container.model_data)


def version_of(context: Context, package: ModelPackage) -> ModelVersion | None:
    """Return the model version that a package says it is of."""
    match = MODEL_URI.fullmatch(package.properties.get(PACKAGED, ""))
    return context.tracker.version(match["name"], match["version"]) if match else None


# --- endpoints -------------------------------------------------------------------------------


def _own(context: Context, endpoints: Endpoints, name: str) -> Endpoint | None:
    """Return an endpoint of this pipeline; ConfigError when it is somebody else's."""
    found = endpoints.find(name)
    owner = found.tags.get(PIPELINE) if found else context.pipeline.name
    if owner == context.pipeline.name:
        return found
    whose = f"it is of the pipeline {owner}" if owner else "clew did not make it"
    raise ConfigError(
        f"the endpoint {name} is not of the pipeline {context.pipeline.name}: {whose}",
        fix="Choose another name with --endpoint.",
    )


def _existing(context: Context, endpoints: Endpoints, name: str) -> Endpoint:
    found = _own(context, endpoints, name)
    if found is None:
        raise _no_endpoint(name)
    return found


def _no_endpoint(name: str) -> ConfigError:
    return ConfigError(f"there is no endpoint {name}", fix="See `aws sagemaker list-endpoints`.")


def _ready(context: Context, endpoints: Endpoints, name: str) -> Endpoint | None:
    """Return an endpoint that can be updated, None where one must be made.

    A failed one serves nothing and can only be deleted:
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
    """
    if _own(context, endpoints, name) is None:
        return None
    found = endpoints.settled(name, context.reporter.line)
    if found is None or found.status == IN_SERVICE:
        return found
    if found.status != FAILED:
        raise OutsideError(
            f"the endpoint {name} is {found.status}: {found.reason}",
            fix=f"If SageMaker can't mend it: `clew undeploy --endpoint {name}`.",
        )
    context.reporter.step("deploy", f"{name} has failed and is deleted: {found.reason}")
    _delete(context, endpoints, name)
    return None


def _delete(context: Context, endpoints: Endpoints, name: str) -> None:
    endpoints.delete(name)
    if endpoints.settled(name, context.reporter.line) is not None:
        raise OutsideError(f"SageMaker did not delete the endpoint {name}", fix="Run it again.")


def _is_live(context: Context, found: Endpoint, release: Release) -> bool:
    said = {**release.tags(context), DEPLOYED: release.name}
    return found.config == release.name and said.items() <= found.tags.items()


def _refuse_other_content(endpoints: Endpoints, release: Release) -> None:
    there = endpoints.config(release.name)
    if there is None or not there.serves(release.package.arn):
        raise ConfigError(
            f"the endpoint config {release.name} is not what clew makes by this name",
            fix="Delete it, and the SageMaker model of the same name.",
        )


def _parts(context: Context, endpoints: Endpoints, name: str) -> tuple[list[Part], list[Part]]:
    """Return what goes with an endpoint, and what another one needs."""
    parts = endpoints.parts(context.pipeline.name, name)
    used = endpoints.used_beside(name) if parts else set()
    return [part for part in parts if part not in used], [part for part in parts if part in used]


# --- the smoke test, and the way back --------------------------------------------------------


def _tested(
    context: Context,
    endpoints: Endpoints,
    name: str,
    release: Release,
    example: bytes | None,
    before: str,
) -> tuple[Endpoint, str]:
    """Wait for a release and test it; NotDeployed when the endpoint is as it was before."""
    live = endpoints.settled(name, context.reporter.line)
    if live is None:
        raise OutsideError(f"somebody deleted the endpoint {name} meanwhile", fix="Run it again.")
    if live.status == IN_SERVICE and live.config == release.name:
        try:
            tested = smoke_test(endpoints, name, example)
        except ClewError as error:
            why = f"the smoke test failed: {error.what}"
        else:
            context.reporter.step("test", tested)
            return live, tested
    else:
        why = live.reason or f"the endpoint is {live.status} with {live.config}"
    context.reporter.step("test", why)
    ends = _restored(context, endpoints, live, before)
    raise NotDeployed(f"{release.version.uri} does not serve: {why}", fix=ends)


def _restored(context: Context, endpoints: Endpoints, live: Endpoint, before: str) -> str:
    """Bring back what was deployed before; return what the endpoint is now."""
    name = live.name
    if not before:
        _delete(context, endpoints, name)
        return f"The new endpoint {name} is deleted again."
    now: Endpoint | None = live
    if live.config != before and live.status == IN_SERVICE:
        context.reporter.step("rollback", f"{name} to {before}")
        endpoints.update(name, before)
        now = endpoints.settled(name, context.reporter.line)
    if now is None or (now.status, now.config) != (IN_SERVICE, before):
        state = f"{now.status} with {now.config}: {now.reason}" if now else "gone"
        raise OutsideError(
            f"the endpoint {name} could not be brought back to {before}: it is {state}",
            fix=f"Deploy a model that serves: `clew deploy MODEL --endpoint {name}`.",
        )
    return f"The endpoint {name} serves {before}, as before."


def smoke_test(endpoints: Endpoints, name: str, example: bytes | None) -> str:
    """Ask an endpoint for predictions of the model's own input example; return what was seen.

    NotDeployed when the answer does not hold one prediction for each row.
    """
    if example is None:
        return NO_EXAMPLE
    rows = rows_of(_parsed(example, "the model's input example"))
    answer = _parsed(endpoints.invoke(name, example), "the answer")
    if rows is None:
        return UNCOUNTED
    found = answer.get("predictions") if isinstance(answer, dict) else None
    count = len(found) if isinstance(found, list) else _columns(found)
    if count != rows:
        shown = "no list of predictions" if count is None else f"{count} predictions"
        raise NotDeployed(f"{rows} rows of the input example were answered with {shown}")
    return f"{rows} rows of the input example, {count} predictions"


def _parsed(text: bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise NotDeployed(f"{what} is no JSON: {text[:80]!r}") from error


def rows_of(request: Any) -> int | None:
    """Return how many rows a request to MLflow's scoring server has; None where none are told.

    https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/#json-input
    """
    if not isinstance(request, dict):
        return None
    split, given = request.get("dataframe_split"), request.get("inputs")
    if isinstance(split, dict) and isinstance(split.get("data"), list):
        return len(split["data"])
    for key in ("dataframe_records", "instances"):
        if isinstance(request.get(key), list):
            return len(request[key])
    if isinstance(given, dict):
        return _columns(given)
    # Of other lists, such as messages of a chat, one answer may be all.
    tensor = isinstance(given, list) and all(isinstance(row, int | float | list) for row in given)
    return len(given) if tensor and given else None


def _columns(found: Any) -> int | None:
    """Return the common length of named lists."""
    if not isinstance(found, Mapping) or not all(isinstance(v, list) for v in found.values()):
        return None
    lengths = {len(column) for column in found.values()}
    return lengths.pop() if len(lengths) == 1 else None
