"""trace endpoint://NAME: from what is live right now to the model version, and on to its data."""

from __future__ import annotations

from clew.chain import Trace
from clew.context import Context
from clew.errors import ClewError, ConfigError
from clew.packages import ARN, ModelPackage
from clew.serving import BUSY, IN_SERVICE, Endpoint, Endpoints
from clew.trace import follow_model

SCHEME = "endpoint://"
TAGGED = ("run_fingerprint", "data_git_commit_id")  # what deploy writes on an endpoint


def trace_endpoint(context: Context, endpoints: Endpoints, name: str) -> Trace:
    """Return the chain of what an endpoint serves; ConfigError when there is no such endpoint."""
    result = Trace(f"{SCHEME}{name}")
    try:
        live = endpoints.find(name)
    except ClewError as error:
        result.check(f"the endpoint {name}", None, error.what)
        return result
    if live is None:
        raise ConfigError(f"there is no endpoint {name}", fix="See `aws sagemaker list-endpoints`.")
    source = f"DescribeEndpoint {name}"
    result.add(result.subject, "endpoint", {"status": live.status, "arn": live.arn}, source)
    said = live.status if not live.reason else f"{live.status}: {live.reason}"
    settled = None if live.status in BUSY else live.status == IN_SERVICE
    result.check(f"the endpoint {name} is in service", settled, said)
    package = _package(context, endpoints, result, live)
    if package is not None:
        _tags(result, live, package)
        _model(context, result, package)
    return result


def _package(
    context: Context, endpoints: Endpoints, result: Trace, live: Endpoint
) -> ModelPackage | None:
    """Follow the configuration and the model to the package; None where a link is gone."""
    what = f"the model package that {live.name} serves"
    try:
        served = endpoints.served(live.config)
        found = context.packages.describe(served.package) if served and context.packages else None
    except ClewError as error:
        result.check(what, None, error.what)
        return None
    if served is None or found is None:
        result.check(what, None, f"{served.package if served else live.config} can't be found")
        return None
    config = f"endpoint configuration {served.config}"
    result.add(config, "endpoint configuration", {}, f"DescribeEndpointConfig {served.config}")
    result.link(result.subject, config, "serves")
    model = f"SageMaker model {served.model}"
    result.add(model, "SageMaker model", {}, f"DescribeModel {served.model}")
    result.link(config, model, "has")
    source = f"DescribeModelPackage {found.arn}"
    result.add(found.arn, "model package", dict(found.properties), source)
    result.link(model, found.arn, "made of")
    _bytes(endpoints, result, found)
    return found


def _bytes(endpoints: Endpoints, result: Trace, package: ModelPackage) -> None:
    what = f"the model's archive of {package.arn}"
    try:
        there = endpoints.has_model_data(package.arn)
    except ClewError as error:
        result.check(what, None, error.what)
        return
    said = "HeadObject: it has the ETag that the package says"
    if not there:
        said = "it has other bytes now" if there is False else "it is not in S3, or has no ETag"
    result.check(what, there, said)


def _tags(result: Trace, live: Endpoint, package: ModelPackage) -> None:
    for name in TAGGED:
        there = live.tags.get(f"clew:{name}"), package.properties.get(name)
        equal = None if None in there else there[0] == there[1]
        evidence = f"tag of {live.name}: {there[0]}, property of the package: {there[1]}"
        result.check(f"{name} of endpoint and package", equal, evidence)


def _model(context: Context, result: Trace, package: ModelPackage) -> None:
    versions = context.tracker.versions({ARN: package.arn})
    said = package.properties.get("mlflow_model_version")
    evidence = f"the package says {said}; MLflow has {', '.join(v.uri for v in versions) or 'none'}"
    known = None if not versions or said is None else [v.uri for v in versions] == [said]
    result.check("the model version of the package", known, evidence)
    for version in versions:
        result.link(package.arn, version.uri, "registered as")
        follow_model(context, result, version)
