"""DVC for a job whose image lacks it, in a folder of the job's own.

Among the image's packages it would replace some: pip fails where those came from the system or from
conda, and stages would then run with other packages than the image's digest stands for. They see
nothing of this folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

from clew.container.messages import say

REQUIREMENTS = "packages.txt"
FOLDER = Path("packages")
INSTALL = (
    *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
    *("--no-deps", "--require-hashes", "--requirement", REQUIREMENTS),
)


def bring() -> None:
    """Let this process import what the job's requirements name; SystemExit when pip fails."""
    if not Path(REQUIREMENTS).exists() or _image_has_them():
        return
    with Path(f"{FOLDER}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # torchrun starts several of these on one host
        if not FOLDER.exists():
            _install()
    sys.path.insert(0, str(FOLDER.resolve()))


def _image_has_them() -> bool:
    command = [*INSTALL, "--dry-run", "--no-index", "--report", "-"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode == 0 and not json.loads(done.stdout)["install"]


def _install() -> None:
    say("the image lacks packages of the job: pip installs them")
    draft = FOLDER.with_suffix(".new")
    if subprocess.run([*INSTALL, "--target", os.fspath(draft)]).returncode:
        sys.exit(
            "clew: pip could not install what the job needs, see above; without a way to a package "
            "index, name an image that has DVC inside"
        )
    draft.replace(FOLDER)
