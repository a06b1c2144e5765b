"""Web addresses of what a report names, built from configuration and from names of known shapes.

What is not of its shape gets no link: no address is ever taken from data, metrics or messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

WEB = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~-]+)*/?")
REMOTE = re.compile(
    r"(?:https://|ssh://(?:[\w.-]+@)?|[\w.-]+@)(?P<host>[A-Za-z0-9.-]+)(?::[0-9]+)?[:/]"
    r"(?P<path>[A-Za-z0-9._~/-]+?)(?:\.git)?/?"
)
HEX = re.compile(r"[0-9a-f]{7,64}")
DATA_VERSION = re.compile(r"data/[a-z0-9-]+/[0-9a-f]{12}")
NAME = re.compile(r"[A-Za-z0-9_.-]+")
JOB_ARN = re.compile(
    r"arn:aws:sagemaker:(?P<region>[a-z0-9-]+):[0-9]{12}:(?P<kind>training|processing)-job/"
    r"(?P<name>[A-Za-z0-9-]+)"
)


@dataclass(frozen=True)
class Links:
    """Where the forge, MLflow and the CI job are on the web; empty where that is not known."""

    forge: str = ""
    gitlab: bool = False  # whose paths differ from GitHub's
    mlflow: str = ""
    ci: str = ""  # the job that keeps the artifacts

    def commit(self, sha: str) -> str:
        return self._forge("commit", sha) if HEX.fullmatch(sha) else ""

    def data_version(self, tag: str) -> str:
        return self._forge("tree", tag) if DATA_VERSION.fullmatch(tag) else ""

    def run(self, run_id: str) -> str:
        return f"{self.mlflow}/#/runs/{run_id}" if self.mlflow and HEX.fullmatch(run_id) else ""

    def model(self, name: str, version: int) -> str:
        if not self.mlflow or not NAME.fullmatch(name):
            return ""
        return f"{self.mlflow}/#/models/{name}/versions/{version}"

    def job(self, arn: str) -> str:
        """Return the job's page in the AWS console."""
        found = JOB_ARN.fullmatch(arn)
        if not found:
            return ""
        console = f"https://{found['region']}.console.aws.amazon.com/sagemaker/home"
        kind = "jobs" if found["kind"] == "training" else "processing-jobs"
        return f"{console}?region={found['region']}#/{kind}/{found['name']}"

    def _forge(self, kind: str, name: str) -> str:
        middle = "/-" if self.gitlab else ""
        return f"{self.forge}{middle}/{kind}/{name}" if self.forge else ""


def links(environment: Mapping[str, str], remote_url: str | None, tracking_uri: str) -> Links:
    """Return what the CI system's variables, else the Git remote, and pipeline.yaml tell."""
    ci = ""
    forge, gitlab = _of_remote(remote_url or "")
    if server := environment.get("GITHUB_SERVER_URL"):
        forge, gitlab = f"{server}/{environment.get('GITHUB_REPOSITORY', '')}", False
        ci = f"{forge}/actions/runs/{environment.get('GITHUB_RUN_ID', '')}"
    elif project := environment.get("CI_PROJECT_URL"):
        forge, gitlab, ci = project, True, environment.get("CI_JOB_URL", "")
    return Links(_web(forge), gitlab, _web(tracking_uri), _web(ci))


def _of_remote(url: str) -> tuple[str, bool]:
    """Return the web address of a repository whose forge is known by its host's name."""
    found = REMOTE.fullmatch(url)
    if not found:
        return "", False
    gitlab = "gitlab" in found["host"]
    known = gitlab or "github" in found["host"]
    return (f"https://{found['host']}/{found['path']}" if known else ""), gitlab


def _web(url: str) -> str:
    return url.rstrip("/") if WEB.fullmatch(url) else ""
