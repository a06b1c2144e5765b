"""The main job end to end, in a folder of its own, showing each command and what it printed.

`make demo` runs it; `.demo/` stays for you to explore and is made anew by the next run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
DEMO = HERE / ".demo"
ORIGIN, WORK, RESTORED = DEMO / "origin.git", DEMO / "work", DEMO / "restored"
BIN = Path(sys.executable).parent
IDENTITY = {"NAME": "Demo User", "EMAIL": "demo@example.org"}


def main() -> None:
    started = time.monotonic()
    prepare()
    first_version()
    second_version()
    same_again()
    follow_the_thread()
    restore()
    explore()
    print(f"\nThe story took {time.monotonic() - started:.0f} s.")


def prepare() -> None:
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir()
    (DEMO / ".gitignore").write_text("*\n")
    title("Set the stage: a bare origin and a clone to work in")
    source = committed_copy()
    show("git", "clone", "--quiet", "--bare", source, ORIGIN, cwd=DEMO)
    show("git", "clone", "--quiet", ORIGIN, WORK, cwd=DEMO)
    if source != HERE:
        shutil.rmtree(source)
    show("git", "checkout", "--quiet", "-B", "main")
    show("dvc", "remote", "modify", "storage", "url", "../storage")


def committed_copy() -> Path:
    """Return a repository with this checkout's files; the checkout itself is only read."""
    if (HERE / ".git").exists():
        return HERE
    copy = DEMO / "source"
    shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns(".demo", ".venv", ".clew"))
    quiet("git", "init", "--quiet", "-b", "main", cwd=copy)
    quiet("git", "add", "-A", cwd=copy)
    quiet("git", "commit", "--quiet", "-m", "Start", cwd=copy)
    return copy


def first_version() -> None:
    title("1. Data version 1: 5% of the training data")
    set_fraction("0.05")
    commit_and_push("Train on 5% of the data")
    show("clew", "run")


def second_version() -> None:
    title("2. Data version 2: 10%; only the new files are stored")
    set_fraction("0.10")
    commit_and_push("Train on 10% of the data")
    show("clew", "run")


def same_again() -> None:
    title("3. The same commit again: nothing is paid for twice")
    show("clew", "run")


def follow_the_thread() -> None:
    title("4. From the model back to the data, and from the data to its models")
    show("clew", "trace", "models:/fashion-classifier@production")
    show("clew", "trace", model()["data_version"])


def restore() -> None:
    title("5. The exact data, from nothing but the model's name")
    facts = model()
    show("git", "clone", "--quiet", ORIGIN, RESTORED, cwd=DEMO)
    show("git", "checkout", "--quiet", facts["data_git_commit_id"], cwd=RESTORED)
    show("dvc", "pull", "data/prepared", cwd=RESTORED)
    compare(RESTORED / "data/prepared")


def compare(folder: Path) -> None:
    """Hold every restored file against the manifest, and the whole against the pointer in Git."""
    rows = [row.split(",") for row in (folder / "manifest.csv").read_text().splitlines()]
    path, sha256 = rows[0].index("file_path"), rows[0].index("sha256")
    wrong = [
        row[path]
        for row in rows[1:]
        if hashlib.sha256(located(folder, row[path]).read_bytes()).hexdigest() != row[sha256]
    ]
    if wrong:
        sys.exit(f"{len(wrong)} restored files differ, first {wrong[0]}")
    print(f"{len(rows) - 1} restored files have the sha256 that the manifest names.")
    show("dvc", "status", "prepare", cwd=RESTORED)


def located(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).exists() else RESTORED / name


def explore() -> None:
    title("6. Look around")
    print(f"cd {WORK.relative_to(HERE)}")
    print("../../.venv/bin/mlflow ui --backend-store-uri sqlite:///.clew/mlflow.db")
    print("Then open http://127.0.0.1:5000 : experiment 'fashion', model 'fashion-classifier'.")


def model() -> dict[str, str]:
    """Return the lineage that the production model carries."""
    answer = subprocess.run(
        [BIN / "clew", "trace", "--json", "models:/fashion-classifier@production"],
        cwd=WORK,
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    first = json.loads(answer.stdout)["nodes"][0]
    return {fact["key"]: fact["value"] for fact in first["facts"]}


def set_fraction(value: str) -> None:
    params = WORK / "params.yaml"
    text = params.read_text()
    params.write_text(re.sub(r"(?m)^(\s+fraction:).*$", rf"\1 {value}", text))
    show("git", "diff", "-U0", "--", "params.yaml", ".dvc/config")


def commit_and_push(message: str) -> None:
    show("git", "commit", "--quiet", "-am", message)
    show("git", "push", "--quiet", "origin", "main")


def title(text: str) -> None:
    print(f"\n\033[1m=== {text}\033[0m" if sys.stdout.isatty() else f"\n=== {text}", flush=True)


def show(*command: str | Path, cwd: Path = WORK) -> None:
    """Run a command, showing it and what it prints; the story ends if it fails."""
    words = [str(word).replace(f"{DEMO}/", "../" if cwd != DEMO else "") for word in command]
    print(f"$ {' '.join(words)}", flush=True)
    quiet(*command, cwd=cwd)


def quiet(*command: str | Path, cwd: Path) -> None:
    code = subprocess.run([str(word) for word in command], cwd=cwd, env=environment()).returncode
    if code:
        sys.exit(f"the story ends here: {command[0]} exited with {code}")


def environment() -> dict[str, str]:
    """Return the user's environment with this checkout's commands first and Git kept calm."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    for role in ("AUTHOR", "COMMITTER"):
        variables |= {f"GIT_{role}_{key}": value for key, value in IDENTITY.items()}
    path = os.pathsep.join([str(BIN), variables.get("PATH", os.defpath)])
    return variables | {"PATH": path, "GIT_PAGER": "cat", "DVC_NO_ANALYTICS": "true"}


if __name__ == "__main__":
    main()
