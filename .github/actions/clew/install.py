"""Install clew into an environment of its own and put that on the PATH of the steps to come.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

UV = "uv==0.13.9"


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - by whatever Python the runner has
        print("clew needs Python 3.11 or newer: name it with the input `python`", file=sys.stderr)
        return 2
    source = Path(__file__).resolve().parents[3]
    place = Path(os.environ["RUNNER_TEMP"]) / "clew"
    environment = os.environ | {"UV_PROJECT_ENVIRONMENT": str(place)}
    programs = place / "bin"
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    pip = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, UV], check=True)
    uv = programs / "uv"
    extras = [word for name in os.environ["EXTRAS"].split() for word in ("--extra", name)]
    sync = [uv, "sync", "--quiet", "--frozen", "--inexact", "--project", source, *extras]
    subprocess.run([*sync, "--python", programs / "python"], env=environment, check=True)
    if requirements := os.environ["REQUIREMENTS"]:
        install = [uv, "pip", "install", "--quiet", "--python", programs / "python"]
        subprocess.run([*install, "--requirement", requirements], check=True)
    with Path(os.environ["GITHUB_PATH"]).open("a") as file:
        file.write(f"{programs}\n")
    return subprocess.run([programs / "clew", "--version"]).returncode


if __name__ == "__main__":
    sys.exit(main())
