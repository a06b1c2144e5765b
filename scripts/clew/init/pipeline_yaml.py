"""pipeline.yaml as `clew init` writes it: with comments, and safe for whatever a path is named."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import yaml

from clew.config.model import MetricsFile
from clew.init.detect import Metrics
from clew.init.stages import Roles

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
NOT_TEXT = re.compile(r"(?i)y|n|yes|no|on|off|true|false|null|nan|inf")
SCHEMA = "# yaml-language-server: $schema={url}\n"
TEMPLATE = """\
# What clew does with the stages of dvc.yaml. All paths are relative to this file.
name: {name}  # it prefixes jobs and the data versions' tags
data:
  stages: {data_stages}  # run when their inputs change
  outputs: {outputs}  # what training reads: their DVC pointers are the data version
  remote: {remote}  # the DVC remote that keeps them
train:
  stages: {train_stages}
  model: {model}  # becomes the registered model
  metrics:
{metrics}
code:
  paths: {code}  # what counts as another training when it changes
{lock}executor:
  use: local  # or sagemaker: docs/sagemaker.md
mlflow:
  tracking_uri: {uri}{server}
  experiment: {name}
  model: {name}
{gates}promotion:
  branch: {branch}  # a run on it that passes all gates moves `production`
"""


@dataclass(frozen=True)
class Answers:
    """All that goes into pipeline.yaml."""

    name: str
    roles: Roles
    remote: str
    metrics: Metrics
    code: tuple[str, ...]
    lock: str | None
    tracking_uri: str
    branch: str
    schema_url: str | None = None


def render(answers: Answers) -> str:
    """Return the text of pipeline.yaml."""
    roles, uri = answers.roles, answers.tracking_uri
    server = "  # of this clone; a team names its server" if uri.startswith("sqlite:") else ""
    text = TEMPLATE.format(
        name=scalar(answers.name),
        data_stages=_flow(roles.data_stages),
        outputs=_flow(roles.data_outputs),
        remote=scalar(answers.remote),
        train_stages=_flow(roles.train_stages),
        model=scalar(roles.model),
        metrics="\n".join(f"    - {_file(file)}" for file in answers.metrics.files),
        code=_flow(answers.code),
        lock=_lock(answers.lock),
        uri=scalar(uri),
        server=server,
        gates=_gates(answers.metrics.gate),
        branch=scalar(answers.branch),
    )
    return (SCHEMA.format(url=answers.schema_url) if answers.schema_url else "") + text


def scalar(text: str) -> str:
    """Return a text as YAML 1.1 and 1.2 both read it, also within a flow sequence."""
    if PLAIN.fullmatch(text) and not NOT_TEXT.fullmatch(text):
        return text
    quoted = yaml.safe_dump(text, default_style='"', width=float("inf"), allow_unicode=True)
    return quoted.removesuffix("\n")


def _flow(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(scalar, texts))}]"


def _file(file: MetricsFile) -> str:
    if not file.names:
        return scalar(file.path)
    both = (("higher", file.higher), ("lower", file.lower))
    ways = ", ".join(f"{key}: {_flow(names)}" for key, names in both if names)
    return f"{{path: {scalar(file.path)}, {ways}}}  # which way each is better"


def _lock(path: str | None) -> str:
    if path is None:
        return "  # lock: uv.lock  # name the lock file: another library is another training\n"
    return f"  lock: {scalar(path)}  # another library version is another training\n"


def _gates(gate: tuple[str, float] | None) -> str:
    if gate is None:
        return "# gates:  # rules that a model must meet before it is promoted\n"
    name, loss = gate
    rule = f"{{metric: {scalar(name)}, max_regression: {loss:.12f}".rstrip("0").rstrip(".")
    return f"gates:\n  - {rule}}}  # how much worse than `production` it may be\n"
