"""Build the wheel, install it in a clean environment outside the checkout, and use it there."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).parent / "uv"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(UV, "build", "--quiet", "--wheel", "--out-dir", folder / "dist", HERE, cwd=folder)
        (wheel,) = (folder / "dist").glob("*.whl")
        run(UV, "export", "--quiet", "--frozen", "--no-emit-project", "-o", folder / "lock.txt")
        run(UV, "venv", "--quiet", folder / "venv", cwd=folder)
        python = folder / "venv/bin/python"
        pip = (UV, "pip", "install", "--quiet", "--python", python)
        run(*pip, "--require-hashes", "-r", folder / "lock.txt", cwd=folder)
        run(*pip, "--no-deps", wheel, cwd=folder)
        clew = folder / "venv/bin/clew"
        run(clew, "--version", cwd=folder)
        run(clew, "--help", cwd=folder)
        run("git", "clone", "--quiet", HERE, folder / "clone", cwd=folder)
        run(clew, "resolve", cwd=folder / "clone")
        source = f"example/clew@{'c' * 40}"
        adopt = ("init", "--yes", "--dry-run", "--forge", "all", "--source", source)
        run(clew, *adopt, cwd=folder / "clone")
    print("The wheel works outside the checkout.")


def run(*command: str | Path, cwd: Path = HERE) -> None:
    print("$", " ".join(str(word) for word in command), flush=True)
    subprocess.run([str(word) for word in command], cwd=cwd, check=True)


if __name__ == "__main__":
    main()
