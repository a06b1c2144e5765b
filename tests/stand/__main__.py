"""`python -m tests.stand`: start everything, print what to export, wait for Ctrl-C."""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

from tests.stand.stand import Stand

DEFAULT = Path("build/stand")
PARTS = ("mlflow", "git")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stand", description=__doc__)
    parser.add_argument("--folder", type=Path, help=f"{DEFAULT}, emptied first, when not given")
    parser.add_argument("--without", choices=PARTS, action="append", default=[])
    parser.add_argument("--grace-seconds", type=float, default=120.0)
    options = parser.parse_args()
    if options.folder is None:
        shutil.rmtree(DEFAULT, ignore_errors=True)
    stand = Stand(
        options.folder or DEFAULT,
        mlflow="mlflow" not in options.without,
        git="git" not in options.without,
        grace_seconds=options.grace_seconds,
    )
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with stand:
            print("\n".join(exports(stand)), flush=True)
            print("# Ctrl-C stops everything.", file=sys.stderr, flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return 0
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def exports(stand: Stand) -> list[str]:
    """Lines for `eval`: the environment, and names that only tests and people need."""
    found = {
        **stand.environment,
        "STAND_S3_BUCKET": stand.s3_bucket,
        "STAND_ROLE_ARN": stand.role_arn,
        "STAND_PROCESSING_ROLE_ARN": stand.roles["clew-processing"],
    }
    if stand.mlflow is not None:
        found["STAND_MLFLOW_APP_ARN"] = stand.mlflow_app_arn
    if stand.git is not None:
        found["STAND_GIT_URL"] = stand.git.with_credentials(stand.git.create("clew"))
    return [f"export {name}={shlex.quote(value)}" for name, value in found.items()]


if __name__ == "__main__":
    sys.exit(main())
