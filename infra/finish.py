"""Continue the run that a job belongs to, once the job has ended: what CodeBuild runs.

Started by anything but a job's end, it is `clew ci`.

Everything about the job comes from AWS by its ARN, in the environment, and goes on as arguments:
nothing of it reaches a shell.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

COMMIT, FINGERPRINT = "clew:code_git_commit_id", "clew:run_fingerprint"


def main() -> int:
    if not (arn := os.environ.get("CLEW_JOB_ARN")):
        return clew("ci", "--reports", "clew-reports").returncode
    tags = tags_of(arn)
    commit, branch = tags.get(COMMIT, ""), os.environ.get("CLEW_BRANCH", "main")
    if not re.fullmatch("[0-9a-f]{40}", commit):
        return said(f"the job has no tag {COMMIT} with a commit: clew did not start it", code=2)
    shown = f"+refs/heads/{branch}:refs/remotes/origin/{branch}"
    git("fetch", "--quiet", "--tags", "origin", commit, shown).check_returncode()
    if FINGERPRINT in tags and tags[FINGERPRINT] != fingerprint(commit):
        return said("the job was asked for with --param: the same command again goes on from here")
    is_on_it = not git("merge-base", "--is-ancestor", commit, f"origin/{branch}").returncode
    where = ["--branch", branch] if is_on_it else []
    return clew("run", "--commit", commit, "--detach", *where).returncode


def fingerprint(commit: str) -> str:
    """Return the run fingerprint of a commit by itself."""
    found = clew("resolve", commit, "--json", stdout=subprocess.PIPE)
    found.check_returncode()
    return str(json.loads(found.stdout)["run_fingerprint"])


def tags_of(arn: str) -> dict[str, str]:
    """Return a job's tags, at most 50: the answer's one page."""
    import boto3

    found = boto3.client("sagemaker").list_tags(ResourceArn=arn)["Tags"]
    return {tag["Key"]: tag["Value"] for tag in found}


def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments])


def clew(*arguments: str, stdout: int | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "clew", *arguments], stdout=stdout)


def said(why: str, code: int = 0) -> int:
    print(why, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
