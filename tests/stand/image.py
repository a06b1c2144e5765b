"""The container image of the stand's jobs: this environment's packages, without the project.

A job sees what an image holds and nothing of the checkout: packages and commands are linked
from the environment that runs the stand, the project itself (an editable install) is left out,
and each host gets an interpreter of its own, so that a job's `pip install` changes only the job.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).with_name("image_files")
PROJECT = ("__editable__", "clew")


class Image:
    """Built once per stand; `python_for` makes the interpreter of one host."""

    def __init__(self, folder: Path) -> None:
        self.packages = folder / "site-packages"
        self.commands = folder / "bin"
        if not self.packages.exists():
            self._link_packages()
            self._copy_commands()

    def _link_packages(self) -> None:
        self.packages.mkdir(parents=True)
        folders = {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}
        for entry in (entry for folder in folders for entry in folder.iterdir()):
            if not entry.name.startswith((*PROJECT, "__pycache__")) and entry.suffix != ".pth":
                (self.packages / entry.name).symlink_to(entry)
        for module in HERE.glob("*.py"):
            shutil.copy(module, self.packages)

    def _copy_commands(self) -> None:
        """Commands start with the interpreter that installed them: let PATH choose instead."""
        self.commands.mkdir()
        source = Path(sys.executable).parent
        shebang = f"#!{source}/python".encode()
        for command in source.iterdir():
            if command.is_dir() or command.name.startswith(("python", "activate", *PROJECT)):
                continue
            with command.open("rb") as file:
                is_script = file.read(len(shebang)) == shebang
            if is_script:
                lines = command.read_bytes().split(b"\n", 1)
                copy = self.commands / command.name
                copy.write_bytes(b"#!/usr/bin/env python\n" + lines[1])
                copy.chmod(0o755)
        shutil.copy(HERE / "torchrun", self.commands)
        (self.commands / "torchrun").chmod(0o755)

    def python_for(self, folder: Path) -> Path:
        """A virtual environment on top of the image's packages, made in a few milliseconds."""
        base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        commands = folder / "bin"
        version = f"python3.{sys.version_info.minor}"
        packages = folder / "lib" / version / "site-packages"
        commands.mkdir(parents=True)
        packages.mkdir(parents=True)
        for name in ("python", "python3", version):
            (commands / name).symlink_to(base)
        (folder / "pyvenv.cfg").write_text(
            f"home = {base.parent}\ninclude-system-site-packages = false\n"
        )
        (packages / "stand.pth").write_text(f"{self.packages}\nimport stand_hosts\n")
        return commands / "python"
