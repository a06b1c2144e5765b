"""Continue what waits for a job, once the job has ended: what CodeBuild runs.

Started by anything but a job's end, it is `clew ci`.

What was asked for is in MLflow, not in the job: `clew reconcile` goes on with it. The job only says
which commit has to be there, which no branch may have any more. That comes from AWS by its ARN, in
the environment, and goes on as an argument: nothing of it reaches a shell.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

COMMIT = "clew:code_git_commit_id"


def main() -> int:
    if not (arn := os.environ.get("CLEW_JOB_ARN")):
        return clew("ci", "--reports", "clew-reports")
    commit = tags_of(arn).get(COMMIT, "")
    if not re.fullmatch("[0-9a-f]{40}", commit):
        print(f"the job has no tag {COMMIT}: clew did not start it", file=sys.stderr)
        return 2
    git("fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*", check=True)
    git("fetch", "--quiet", "origin", commit)  # of one that is gone `clew reconcile` says so
    return clew("reconcile")


def tags_of(arn: str) -> dict[str, str]:
    """Return a job's tags, at most 50: the answer's one page."""
    import boto3

    found = boto3.client("sagemaker").list_tags(ResourceArn=arn)["Tags"]
    return {tag["Key"]: tag["Value"] for tag in found}


def git(*arguments: str, check: bool = False) -> None:
    subprocess.run(["git", *arguments], check=check)


def clew(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "clew", *arguments]).returncode


if __name__ == "__main__":
    sys.exit(main())
