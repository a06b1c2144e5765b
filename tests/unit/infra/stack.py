"""The CloudFormation stacks of infra/ as data, and whether a role in them may do something.

An evaluator of just what the templates use: Allow, actions by their names, resources with `*`.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[3]
CLEW, FINISH = ROOT / "infra/clew.yaml", ROOT / "infra/finish.yaml"
ROLES = {  # as the table calls them
    "CiRole": "CI",
    "ProcessingRole": "processing",
    "TrainingRole": "training",
    "ServingRole": "serving",
    "PurgeRole": "purge",
    "TrackingRole": "MLflow App",
    "BuildRole": "CodeBuild",
    "EventRole": "EventBridge",
}
THINGS = {
    "Store.Arn": "the bucket",
    "Tracking": "the MLflow App",
    "KmsKey": "the key",
    "Secrets": "the secrets",
    "Finish.Arn": "the CodeBuild project",
    "BuildLog.Arn": "the build's log",
    "Dispatch.Arn": "the way to GitHub",
    "Connection": "the connection to GitHub",
}


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short functions, each kept as `{name: argument}`."""


def _function(loader: Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    return {suffix: loader.construct_mapping(node, deep=True)}  # type: ignore[arg-type]


Loader.add_multi_constructor("!", _function)


def resources_of(template: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(template.read_text(), Loader)["Resources"]
    return found


RESOURCES, FINISHING = resources_of(CLEW), resources_of(FINISH)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(role: str, resources: Mapping[str, Any] = RESOURCES) -> Iterator[dict[str, Any]]:
    """Yield all that a role is given: by itself, and by the stack's managed policies."""
    properties = resources[role]["Properties"]
    for policy in properties.get("Policies", ()):
        yield from policy["PolicyDocument"]["Statement"]
    attached = [policy["Ref"] for policy in properties.get("ManagedPolicyArns", ())]
    for name, resource in resources.items():
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            given_to = resource["Properties"].get("Roles", ())
            if name in attached or {"Ref": role} in given_to:
                yield from resource["Properties"]["PolicyDocument"]["Statement"]


def shown(resource: Any) -> str:
    """Return a resource as the table writes it: what it is, and where in the bucket."""
    match resource:
        case {"GetAtt": name} | {"Ref": name} if name in THINGS:
            return THINGS[name]
        case {"GetAtt": name}:
            return f"the role of {ROLES[str(name).partition('.')[0]]}"
        case {"Sub": text} if str(text).startswith("${Store.Arn}/"):
            return str(text).removeprefix("${Store.Arn}/")
        case {"Sub": text}:
            return str(text).rpartition("${AWS::AccountId}:")[2]
    return str(resource)


class Grant(NamedTuple):
    role: str
    action: str
    resource: str


def grants() -> set[Grant]:
    return {
        Grant(name, action, shown(resource))
        for stack in (RESOURCES, FINISHING)
        for role, name in ROLES.items()
        if role in stack
        for statement in statements(role, stack)
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }


@dataclass(frozen=True)
class Stack:
    """infra/clew.yaml as it would be made with these parameters and names."""

    names: Mapping[str, str]  # what `!Ref` and `${…}` stand for; roles and the bucket by ARN

    def allowing(self, role: str, action: str, resource: str) -> set[Grant]:
        """Return the grants that let a role do this; none: AWS would refuse it."""
        return {
            Grant(ROLES[role], action, shown(given))
            for statement in statements(role)
            if action in listed(statement["Action"])
            for given in listed(statement["Resource"])
            if matches(self._arn(given), resource)
        }

    def _arn(self, resource: Any) -> str:
        match resource:
            case {"GetAtt": name} | {"Ref": name}:
                return self.names[name]
            case {"Sub": text}:
                return re.sub(r"\$\{([^}]+)\}", lambda found: self.names[found[1]], str(text))
        return str(resource)


def matches(pattern: str, arn: str) -> bool:
    """Tell whether a policy's resource stands for an ARN, in which `*` is a letter like others."""
    parts = (re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(".*".join(parts), arn) is not None
