"""From the bytes of pipeline.yaml to a `Pipeline`, or to a list of its mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from clew.config import rules
from clew.config.mistakes import Mistake, Places, found, found_name, refuse
from clew.config.model import (
    Budget,
    Code,
    Consent,
    Data,
    Direction,
    Executor,
    FrameworkImage,
    Gate,
    Instance,
    Local,
    MetricsFile,
    MLflow,
    Network,
    Pipeline,
    Promotion,
    Records,
    SageMaker,
    Serving,
    ServingInstance,
    Spot,
    Train,
)
from clew.config.schema import ValidationCache, cache_key, schema, violations
from clew.config.yaml_source import read


def load(text: bytes, source: str, seen: ValidationCache | None = None) -> Pipeline:
    """Return the pipeline that the text of pipeline.yaml describes.

    `seen` spares the schema run for a document that has passed it before. ConfigError has one line
    per mistake: file:line: JSON path: what was found; what is allowed; the nearest valid name.
    """
    document, places = read(text, source)
    key = cache_key(document)
    known = seen is not None and seen.knows(key)
    if not known:
        _validate(document, places)
    pipeline = _pipeline(document)
    refuse(places.mistake(*finding) for finding in rules.findings(pipeline))
    if seen and not known:
        seen.add(key)
    return pipeline


def overridden(
    pipeline: Pipeline,
    environ: Mapping[str, str],
    executor: str | None = None,
    instance: str | None = None,
) -> Pipeline:
    """Return the pipeline with --executor, or else what the environment sets, and --instance.

    CLEW_EXECUTOR and MLFLOW_TRACKING_URI count; empty means unset. ConfigError names the option or
    the variable whose value is not allowed.
    """
    said = "--executor" if executor else "CLEW_EXECUTOR"
    use: Any = executor or environ.get("CLEW_EXECUTOR") or pipeline.executor.use
    uri = environ.get("MLFLOW_TRACKING_URI") or pipeline.mlflow.tracking_uri
    refuse(
        [
            *_executor_mistakes(said, use, pipeline),
            *_instance_mistakes(instance, use),
            *_uri_mistakes(uri),
        ]
    )
    chosen = replace(pipeline.executor, use=use)
    settings = chosen.sagemaker
    if instance and settings:
        machines = replace(settings.instance, type=instance)
        chosen = replace(chosen, sagemaker=replace(settings, instance=machines))
    return replace(pipeline, executor=chosen, mlflow=replace(pipeline.mlflow, tracking_uri=uri))


def _instance_mistakes(instance: str | None, use: str) -> Iterator[Mistake]:
    section = schema()["$defs"]["sagemaker"]["properties"]
    rule = section["instance"]["properties"]["type"]
    if instance and not re.fullmatch(rule["pattern"], instance):
        yield Mistake("--instance", found(instance, rule["title"]))
    elif instance and use != "sagemaker":
        yield Mistake("--instance", found(instance, "nothing, unless jobs run on sagemaker"))


def _executor_mistakes(said: str, use: str, pipeline: Pipeline) -> Iterator[Mistake]:
    allowed = schema()["properties"]["executor"]["properties"]["use"]["enum"]
    if use not in allowed:
        yield Mistake(said, found_name(use, allowed))
    elif use == "sagemaker" and pipeline.executor.sagemaker is None:
        text = found(use, "local, because pipeline.yaml has no executor.sagemaker section")
        yield Mistake(said, text)


def _uri_mistakes(uri: str) -> Iterator[Mistake]:
    rule = schema()["$defs"]["trackingUri"]
    if not re.fullmatch(rule["pattern"], uri):
        yield Mistake("MLFLOW_TRACKING_URI", found(uri.partition("?")[0], rule["title"]))


def _validate(document: Any, places: Places) -> None:
    if document is None:
        empty = "found an empty document; required: a mapping with name, data, train, code, mlflow"
        refuse([places.mistake((), empty)])
    refuse(violations(document, places))


def _pipeline(document: Mapping[str, Any]) -> Pipeline:
    metrics = tuple(_metrics_file(item) for item in document["train"]["metrics"])
    records, consent = document.get("records"), document.get("consent")
    return Pipeline(
        name=document["name"],
        data=Data(**_fields(document["data"])),
        train=Train(**_fields(document["train"]) | {"metrics": metrics}),
        code=Code(**_fields(document["code"])),
        mlflow=MLflow(**document["mlflow"]),
        executor=_executor(document.get("executor", {})),
        gates=tuple(_gate(item, metrics) for item in document.get("gates", ())),
        promotion=Promotion(**document.get("promotion", {})),
        records=Records(**records) if records else None,
        consent=Consent(**consent) if consent else None,
    )


def _fields(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in section.items()}


def _metrics_file(item: str | Mapping[str, Any]) -> MetricsFile:
    return MetricsFile(item) if isinstance(item, str) else MetricsFile(**_fields(item))


def _executor(section: Mapping[str, Any]) -> Executor:
    sagemaker = section.get("sagemaker")
    return Executor(
        use=section.get("use", "local"),
        local=Local(**_fields(section.get("local", {}))),
        sagemaker=_sagemaker(sagemaker) if sagemaker else None,
    )


def _sagemaker(section: Mapping[str, Any]) -> SageMaker:
    image, spot = section["image"], section.get("spot")
    return SageMaker(
        **dict(section)
        | {
            "image": image if isinstance(image, str) else FrameworkImage(**image),
            "instance": Instance(**section["instance"]),
            "network": Network(**_fields(section.get("network", {}))),
            "spot": Spot(**spot) if spot else None,
            "serving": _serving(section.get("serving", {})),
            "budget": Budget(**section.get("budget", {})),
        }
    )


def _serving(section: Mapping[str, Any]) -> Serving:
    instance = ServingInstance(**section.get("instance", {}))
    return Serving(**dict(section) | {"instance": instance})


def _gate(item: Mapping[str, Any], metrics: tuple[MetricsFile, ...]) -> Gate:
    lower = any(item["metric"] in file.lower for file in metrics)
    direction: Direction = "lower" if lower else "higher"
    return Gate(**item, direction=direction)
