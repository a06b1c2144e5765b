"""The same story on a rehearsed AWS, to a model that is live on an endpoint.

`make rehearse` runs it, with the stand's S3, SageMaker, MLflow and Git (tests/stand/README.md), and
then the same commit on this machine alone: data and metrics must be equal. `.rehearsal/` stays.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.stand import Stand

from demo.scene import HERE, PRODUCTION, Scene, title
from demo.story import follow_the_thread, two_versions

FOLDER = HERE / ".rehearsal"
ENDPOINT = "fashion-live"
EXECUTOR = """
  sagemaker:
    role: {role}
    region: {region}
    s3_prefix: s3://{bucket}/clew
    image: {image}
    instance: {{type: ml.m5.large}}
    budget: {{per_run_usd: 20}}
"""


def main() -> None:
    started = time.monotonic()
    Scene(FOLDER).clear()
    title("Set the stage: S3, SageMaker, MLflow and Git on this machine")
    with Stand(FOLDER / "stand", mlflow=True, git=True) as stand:
        scene = Scene(FOLDER, {**stand.environment, "HOME": str(FOLDER / "home")})
        origin = prepare(scene, stand)
        two_versions(scene, "--executor", "sagemaker")
        follow_the_thread(scene)
        title("5. The exact data, from nothing but the model's name")
        scene.restore(origin)
        deploy(scene)
        compare(scene)
    print(f"\nThe rehearsal took {time.monotonic() - started:.0f} s.")


def prepare(scene: Scene, stand: Stand) -> str:
    """Return the URL of an origin behind HTTP, with a clone that knows the bucket and the role."""
    assert stand.git is not None
    stand.push_image("mlflow-pyfunc", version("mlflow"))
    origin = stand.git.create("fashion")
    _remember_credentials(stand.git.with_credentials(origin))
    source = scene.committed_copy()
    scene.show("git", "clone", "--quiet", source, scene.work, cwd=FOLDER)
    scene.show("git", "remote", "set-url", "origin", origin)
    scene.show("git", "checkout", "--quiet", "-B", "main")
    url = f"s3://{stand.s3_bucket}/dvc"
    scene.show("dvc", "remote", "modify", "storage", "url", url)
    add_executor(scene.work / "pipeline.yaml", stand, stand.push_image("clew-jobs", "1"))
    scene.show("git", "diff", "--", "pipeline.yaml")
    return origin


def _remember_credentials(url: str) -> None:
    home = FOLDER / "home"
    home.mkdir()
    (home / ".git-credentials").write_text(f"{url}\n")
    (home / ".gitconfig").write_text("[credential]\n\thelper = store\n")


def add_executor(pipeline: Path, stand: Stand, image: str) -> None:
    text = EXECUTOR.format(
        role=stand.role_arn, region=stand.region, bucket=stand.s3_bucket, image=image
    )
    lines = pipeline.read_text().splitlines(keepends=True)
    after = lines.index("executor:\n") + 2
    pipeline.write_text("".join([*lines[:after], text.lstrip("\n"), *lines[after:]]))


def deploy(scene: Scene) -> None:
    title("6. Live: version 1, then version 2 in its place, and the thread from what is live")
    on = ("--endpoint", ENDPOINT, "--executor", "sagemaker")
    scene.show("clew", "deploy", "models:/fashion-classifier/1", *on)
    scene.show("clew", "deploy", PRODUCTION, *on)
    scene.show("clew", "trace", f"endpoint://{ENDPOINT}")
    live = scene.answer("clew", "trace", f"endpoint://{ENDPOINT}", "--json")
    ends = [edge["target"] for edge in live["edges"] if edge["relation"] == "data_git_commit_id"]
    expect("the data commit of what is live", ends[0], scene.model()["data_git_commit_id"])


def compare(scene: Scene) -> None:
    """Run the same commit with everything on this machine, and hold the results together."""
    title("7. The same commit on this machine: the same data, the same figures")
    local = Scene(FOLDER / "local", _without_aws(scene.environment))
    local.clear()
    commit = scene.answer("clew", "resolve", "--executor", "sagemaker", "--json")["commit"]
    parent = f"{commit}~1"  # what was pushed; the commit after it is clew's own
    bare = local.folder / "origin.git"
    local.show("git", "init", "--quiet", "--bare", "-b", "main", bare, cwd=local.folder)
    local.quiet("git", "push", "--quiet", bare, f"{parent}:refs/heads/main", cwd=scene.work)
    local.show("git", "clone", "--quiet", bare, local.work, cwd=local.folder)
    local.show("dvc", "remote", "modify", "--local", "storage", "url", "../storage")
    local.show("clew", "run")
    here, there = _facts(local, "local"), _facts(scene, "sagemaker")
    for name in ("data_fingerprint", "data_git_commit_id", "data", "metrics"):
        expect(name, here[name], there[name])
    if here["run_fingerprint"] == there["run_fingerprint"]:
        sys.exit("the run fingerprints of two executors must differ")


def _without_aws(environment: dict[str, str]) -> dict[str, str]:
    hidden = dict.fromkeys((name for name in environment if name.startswith("AWS_")), "")
    return {**hidden, "HOME": environment["HOME"], "MLFLOW_TRACKING_URI": ""}


def _facts(scene: Scene, executor: str) -> dict[str, Any]:
    run = scene.answer("clew", "run", "--executor", executor, "--json")
    resolved = scene.answer("clew", "resolve", "--executor", executor, "--json")
    scene.quiet("dvc", "pull", "--quiet", "data/prepared", cwd=scene.work)
    return {**resolved, "metrics": run["train"]["metrics"], "data": digest(scene.work)}


def digest(work: Path) -> str:
    """Return one sha256 over the names and bytes of the prepared data."""
    total = hashlib.sha256()
    for path in sorted((work / "data/prepared").rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(work)}\0".encode() + path.read_bytes())
    return total.hexdigest()


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        sys.exit(f"{what} differs: {found} and {wanted}")
    print(f"{what} is the same: {found}")


if __name__ == "__main__":
    os.environ.pop("CLEW_EXECUTOR", None)
    main()
