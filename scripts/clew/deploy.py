"""deploy: a model version live on an endpoint, tested with its own example, or as it was before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from clew import lineage
from clew.consent.current import hold_to_consent
from clew.context import Context
from clew.deployable import deployable, refuse_name
from clew.errors import ClewError, ConfigError, NotLive, OutsideError
from clew.identity import digest
from clew.packages import ARN, ModelPackage
from clew.ports import ModelVersion
from clew.scoring import predictions, rows
from clew.serving import BUSY, FAILED, IN_SERVICE, Endpoint, Endpoints, ModelRefused, Served

ENDPOINT_TAG = "clew.endpoint."  # of a model version, with the name of an endpoint it was put on
PREVIOUS = "clew:previous"  # the configuration that a rollback goes back to
TESTED = "clew:tested"  # the one that passed its test
LEFT = "clew:left"  # the one that a rollback came from; until it has ended, also the one tested
PIPELINE = "clew:pipeline"
EXAMPLE = "serving_input_example.json"
PREFIX_CHARACTERS = 36  # of the endpoint's name, so that 63 hold all


@dataclass(frozen=True)
class Deployed:
    """What is live after a deployment, a rollback or the end of one."""

    endpoint: str
    config: str | None  # None: the endpoint is gone
    model: str | None  # the model version, where that is known
    changed: bool
    tested: str  # what the smoke test did

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class DeployPlan:
    """What would be done, without doing any of it."""

    endpoint: str
    action: str  # create | update | exists | delete | nothing
    config: str | None
    before: str | None  # the configuration that answers now

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def deploy(
    context: Context, endpoints: Endpoints, model: str, name: str, override: str = ""
) -> Deployed:
    """Bring a model version live on an endpoint; back to what was live when its test fails.

    Raises ConfigError for what can't be deployed, NotLive when the model failed live. `override`
    says why a model is deployed that holds records of subjects who do not agree.
    """
    version, package = deployable(context, endpoints, model, name)
    hold_to_consent(context, version, override)
    context.tracker.tag_version(version, {f"{ENDPOINT_TAG}{name}": "deployed"})
    config = _config_name(endpoints, version, package, name)
    tags = _tags(context, version)
    before = _settled(context, endpoints, name)
    proven = _proven(before)
    if before is None or before.config != config or before.status != IN_SERVICE:
        context.reporter.step("deploy", f"{version.uri} as {config}")
        endpoints.make_config(config, package.arn, name, tags)
        _go_live(context, endpoints, name, config, tags, before)
    elif proven == before:
        return Deployed(name, config, version.uri, changed=False, tested="when it went live")
    tested = _tested_or_back(context, endpoints, version, name, proven)
    _settle(endpoints, name, config, tags)
    return Deployed(name, config, version.uri, changed=True, tested=tested)


def rollback(context: Context, endpoints: Endpoints, name: str, override: str = "") -> Deployed:
    """Bring back what was live before; what is back already stays.

    Forward again goes `deploy`.
    """
    now = _ours(context, endpoints, name)
    if _is_back(now):
        version = _version_at(context, endpoints, now.config)
        uri = version.uri if version else None
        return Deployed(name, now.config, uri, changed=False, tested="when it was brought back")
    target = _way_back(endpoints, now)
    hold_to_consent(context, _version_at(context, endpoints, target), override)
    left = now.tags.get(TESTED, now.config) if target == now.config else now.config
    if target != now.config:
        context.reporter.step("rollback", f"{now.config} → {target}")
        endpoints.tag(now, {LEFT: left})
        _update(context, endpoints, now, target)
    back = replace(now, config=target)
    return _finish_rollback(context, endpoints, back, _proven(now) or now, left)


def undeploy(context: Context, endpoints: Endpoints, name: str) -> Deployed:
    """Delete an endpoint and what clew made for it."""
    refuse_name(name)
    if endpoints.find(name) is None:
        for config in endpoints.configs(name):  # of one that was stopped halfway
            endpoints.delete_config(config)
        return Deployed(name, None, None, changed=False, tested="")
    now = _ours(context, endpoints, name)
    context.reporter.step("undeploy", now.name)
    _delete(context, endpoints, name)
    for config in endpoints.configs(name):
        endpoints.delete_config(config)
    return Deployed(name, None, None, changed=True, tested="")


def plan_deploy(
    context: Context, endpoints: Endpoints, model: str, name: str, override: str = ""
) -> DeployPlan:
    version, package = deployable(context, endpoints, model, name)
    hold_to_consent(context, version, override, dry_run=True)
    config = _config_name(endpoints, version, package, name)
    now = endpoints.find(name)
    if now is None:
        return DeployPlan(name, "create", config, None)
    return DeployPlan(name, "exists" if now.config == config else "update", config, now.config)


def plan_rollback(
    context: Context, endpoints: Endpoints, name: str, override: str = ""
) -> DeployPlan:
    now = _ours(context, endpoints, name, settled=False)
    if _is_back(now):
        return DeployPlan(name, "exists", now.config, now.config)
    target = _way_back(endpoints, now)
    hold_to_consent(context, _version_at(context, endpoints, target), override, dry_run=True)
    return DeployPlan(name, "update", target, now.config)


def plan_undeploy(context: Context, endpoints: Endpoints, name: str) -> DeployPlan:
    refuse_name(name)
    if endpoints.find(name) is None:
        return DeployPlan(name, "nothing", None, None)
    now = _ours(context, endpoints, name, settled=False)
    return DeployPlan(name, "delete", None, now.config)


def _finish_rollback(
    context: Context, endpoints: Endpoints, now: Endpoint, proven: Endpoint, left: str
) -> Deployed:
    """Test what was brought back, and keep it when it passes."""
    served = endpoints.served(now.config)
    if served is None:
        raise OutsideError(f"the configuration {now.config} of {now.name} can't be read")
    version = _version_of(context, served.package)
    tested = _tested_or_back(context, endpoints, version, now.name, proven)
    _settle(endpoints, now.name, now.config, served.tags, left)
    uri = version.uri if version else None
    return Deployed(now.name, now.config, uri, changed=True, tested=tested)


# --- parts -------------------------------------------------------------------------------------


def _version_at(context: Context, endpoints: Endpoints, config: str) -> ModelVersion | None:
    served = endpoints.served(config)
    return _version_of(context, served.package) if served else None


def _version_of(context: Context, package: str) -> ModelVersion | None:
    found = context.tracker.versions({ARN: package})
    return found[0] if found else None


def _config_name(
    endpoints: Endpoints, version: ModelVersion, package: ModelPackage, name: str
) -> str:
    """Return what makes a configuration: the same model served the same way is the same."""
    fingerprint = version.tags["run_fingerprint"]
    how = digest([name, package.arn, fingerprint, dict(endpoints.settings())])
    return f"{name[:PREFIX_CHARACTERS].strip('-')}-{fingerprint[:12]}-{how[:12]}"


def _tags(context: Context, version: ModelVersion) -> dict[str, str]:
    facts = {name: version.tags[name] for name in ("run_fingerprint", "data_git_commit_id")}
    return lineage.job_tags(context, facts)


def _is_back(now: Endpoint) -> bool:
    """Tell whether a rollback has ended, and nothing was deployed since."""
    left, tested = now.tags.get(LEFT), now.tags.get(TESTED)
    return bool(left) and tested == now.config and left != tested


def _way_back(endpoints: Endpoints, now: Endpoint) -> str:
    """Return the configuration that a rollback leads to.

    What answers now without having passed a test was left by a rollback that was cut off, which is
    to be finished, or by a deployment, which is to be undone.
    """
    proven = _proven(now)
    if proven is None or proven == now:
        return _previous(endpoints, now).config
    under_way = now.tags.get(LEFT) == proven.config and now.config == now.tags.get(PREVIOUS)
    return now.config if under_way else proven.config


def _previous(endpoints: Endpoints, now: Endpoint) -> Served:
    """Return what was live before; ConfigError when nothing was, or it is gone."""
    previous = now.tags.get(PREVIOUS, "")
    served = endpoints.served(previous) if previous and previous != now.config else None
    if served is None:
        raise ConfigError(
            f"nothing was live on the endpoint {now.name} before {now.config}, or it was removed",
            fix="Deploy the version that you want with `clew deploy`.",
        )
    return served


def _ours(context: Context, endpoints: Endpoints, name: str, *, settled: bool = True) -> Endpoint:
    """Return an endpoint that this pipeline made; `settled` waits for what is under way."""
    refuse_name(name)
    found = (_settled if settled else _owned)(context, endpoints, name)
    if found is None:
        raise ConfigError(f"there is no endpoint {name}", fix="See `aws sagemaker list-endpoints`.")
    return found


def _owned(context: Context, endpoints: Endpoints, name: str) -> Endpoint | None:
    """Return an endpoint; ConfigError when another pipeline, or a person, made it."""
    found = endpoints.find(name)
    if found is not None and found.tags.get(PIPELINE) != context.pipeline.name:
        raise ConfigError(
            f"the endpoint {name} was not made by the pipeline {context.pipeline.name}",
            fix="Choose another name.",
        )
    return found


def _settled(context: Context, endpoints: Endpoints, name: str) -> Endpoint | None:
    found = _owned(context, endpoints, name)
    if found is not None and found.status in BUSY:
        return endpoints.wait(name, _teller(context, "deploy"))
    return found


def _go_live(
    context: Context,
    endpoints: Endpoints,
    name: str,
    config: str,
    tags: Mapping[str, str],
    before: Endpoint | None,
) -> None:
    """Make the endpoint, or update it; one that failed to start can only be made anew."""
    if before is not None and before.status != FAILED:
        _update(context, endpoints, before, config)
        return
    if before is not None:
        _delete(context, endpoints, name)
    endpoints.create(name, config, tags)
    made = endpoints.wait(name, _teller(context, "deploy"))
    if made is None or made.status != IN_SERVICE:
        reason = made.reason if made else "it is gone"
        _delete(context, endpoints, name)
        raise NotLive(
            f"the endpoint {name} did not start: {reason}",
            fix="It is deleted again. Its log is in CloudWatch: /aws/sagemaker/Endpoints.",
        )


def _update(context: Context, endpoints: Endpoints, now: Endpoint, config: str) -> None:
    """Let another configuration answer; SageMaker itself keeps the old one when that fails."""
    endpoints.update(now.name, config)
    updated = endpoints.wait(now.name, _teller(context, "deploy"))
    if updated is None or updated.config != config or updated.status != IN_SERVICE:
        reason = updated.reason or updated.status if updated else "it is gone"
        stays = updated is not None and updated.status == IN_SERVICE
        raise NotLive(
            f"the endpoint {now.name} did not take {config}: {reason}",
            fix=f"{now.config} is live as before." if stays else "Look at it in SageMaker.",
        )


def _tested_or_back(
    context: Context,
    endpoints: Endpoints,
    version: ModelVersion | None,
    name: str,
    proven: Endpoint | None,
) -> str:
    """Return what the test did; untested, for whatever reason, is not good enough to stay."""
    try:
        return _smoke_test(context, endpoints, version, name)
    except ModelRefused as error:
        failed = NotLive(f"the model failed its test on {name}: {error}")
    except ClewError as error:
        failed = NotLive(f"the model could not be tested on {name}: {error}")
    failed.fix = _brought_back(context, endpoints, name, proven, failed.what)
    raise failed


def _brought_back(
    context: Context, endpoints: Endpoints, name: str, proven: Endpoint | None, why: str
) -> str:
    """Return what is live instead of a model that can't stay."""
    if proven is None:
        _delete(context, endpoints, name)
        return "The endpoint is deleted again."
    try:
        endpoints.update(name, proven.config)
        back = endpoints.wait(name, _teller(context, "deploy"))
        said = back.reason if back else "the endpoint is gone"
    except ClewError as error:
        back, said = None, error.what
    if back is None or back.config != proven.config:
        raise OutsideError(
            f"{why}; and {proven.config} could not be brought back: {said}",
            fix="Run `clew deploy` with the version that should be live.",
        )
    return f"{proven.config} is live again."


def _smoke_test(
    context: Context, endpoints: Endpoints, version: ModelVersion | None, name: str
) -> str:
    """Ask the endpoint what the model's own input example asks; ModelRefused when it fails."""
    example = context.tracker.model_file(version, EXAMPLE) if version else None
    if example is None:
        return "it is in service; the model has no input example to be tested with"
    answer = endpoints.invoke(name, example)
    asked, given = rows(example), predictions(answer)
    if asked is not None and asked != given:
        raise ModelRefused(f"{given} predictions for {asked} rows")
    said = f"{given} predictions for its input example"
    context.reporter.step("deploy", said)
    return said


def _settle(
    endpoints: Endpoints, name: str, config: str, tags: Mapping[str, str], left: str = ""
) -> None:
    """Tag what is live now, and delete what neither is live nor can be rolled back to."""
    now = endpoints.find(name)
    if now is None or now.config != config:
        return  # somebody else was faster
    tested = now.tags.get(TESTED)
    previous = now.tags.get(PREVIOUS) if tested in (None, config) else tested
    # In one call: killed before it, all is still said of what passed its test last.
    own = {TESTED: config, LEFT: left, **({PREVIOUS: previous} if previous else {})}
    endpoints.tag(now, {**tags, **own})
    for old in endpoints.configs(name):
        if old not in (config, previous):
            endpoints.delete_config(old)


def _proven(now: Endpoint | None) -> Endpoint | None:
    """Return the endpoint with what passed its test last; None where nothing did, or can be."""
    tested = now.tags.get(TESTED) if now is not None and now.status != FAILED else None
    return replace(now, config=tested) if now is not None and tested else None


def _delete(context: Context, endpoints: Endpoints, name: str) -> None:
    endpoints.delete(name)
    endpoints.wait(name, _teller(context, "delete"))


def _teller(context: Context, step: str) -> Any:
    return lambda status: context.reporter.step(step, f"SageMaker: {status}")
