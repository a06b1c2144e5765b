"""The composite action's installer: the clew of the checkout that it came from, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

INSTALL = Path(__file__).parents[3] / ".github/actions/clew/install.py"


@pytest.mark.slow
def test_it_puts_this_checkouts_clew_on_the_path(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("six\n")
    path = tmp_path / "path"
    told = {
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_PATH": str(path),
        "EXTRAS": "forges",
        "REQUIREMENTS": str(requirements),
    }
    done = subprocess.run(
        [sys.executable, INSTALL], env=os.environ | told, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    programs = Path(path.read_text().strip())
    there = subprocess.run(
        [programs / "python", "-c", "import clew, github, six; print(clew.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert there.stdout.strip().startswith(str(INSTALL.parents[3] / "scripts/clew"))
