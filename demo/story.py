"""The main job end to end, in a folder of its own, showing each command and what it printed.

`make demo` runs it; `.demo/` stays for you to explore and is made anew by the next run.
"""

from __future__ import annotations

import secrets
import shutil
import time

from demo.scene import HERE, PRODUCTION, Scene, title

# A key of one's own would be in a file, or with AWS KMS: see docs/data-protection-request.md.
SCENE = Scene(HERE / ".demo", {"CLEW_SUBJECT_KEY": secrets.token_hex(32)})
ORIGIN = SCENE.folder / "origin.git"


def main() -> None:
    started = time.monotonic()
    prepare()
    two_versions(SCENE)
    follow_the_thread(SCENE)
    title("5. The exact data, from nothing but the model's name")
    SCENE.restore(ORIGIN)
    withdraw(SCENE)
    explore()
    print(f"\nThe story took {time.monotonic() - started:.0f} s.")


def prepare() -> None:
    SCENE.clear()
    title("Set the stage: a bare origin and a clone to work in")
    source = SCENE.committed_copy()
    SCENE.show("git", "clone", "--quiet", "--bare", source, ORIGIN, cwd=SCENE.folder)
    SCENE.show("git", "clone", "--quiet", ORIGIN, SCENE.work, cwd=SCENE.folder)
    if source != HERE:
        shutil.rmtree(source)
    SCENE.show("git", "checkout", "--quiet", "-B", "main")
    SCENE.show("dvc", "remote", "modify", "storage", "url", "../storage")


def two_versions(scene: Scene, *options: str) -> None:
    title("1. Data version 1: 5% of the training data")
    scene.set_fraction("0.05")
    scene.commit_and_push("Train on 5% of the data")
    scene.show("clew", "run", *options)
    title("2. Data version 2: 10%; only the new files are stored")
    scene.set_fraction("0.10")
    scene.commit_and_push("Train on 10% of the data")
    scene.show("clew", "run", *options)
    title("3. The same commit again: nothing is paid for twice")
    scene.show("clew", "run", *options)


def follow_the_thread(scene: Scene) -> None:
    title("4. From the model back to the data, and from the data to its models")
    scene.show("clew", "trace", PRODUCTION)
    scene.show("clew", "trace", scene.model()["data_version"])


def withdraw(scene: Scene) -> None:
    """Tell how somebody of the first data version withdraws, and what an auditor sees."""
    subject = somebody(scene)
    title("6. Somebody withdraws: before")
    scene.show("clew", "audit", "excluded", subject, "--since", "2026-01-01", expect=1)
    scene.show("clew", "consent", "revoke", subject, "--reason", "by letter", "--push")
    moment = scene.said("git", "rev-parse", "HEAD")
    scene.show("clew", "audit", "pending")
    title("7. The data without them, a model without them, and the proof")
    scene.show("clew", "run")
    scene.show("clew", "audit", "excluded", subject, "--since", moment, "--deployed")
    scene.show("clew", "audit", "subject", subject)
    scene.show("clew", "audit", "report", subject, "-o", scene.folder / "audit")


def somebody(scene: Scene) -> str:
    """Return a subject whose records the first model was trained on."""
    asked = ("--split", "train", "--reveal", "--json")
    rows = scene.answer("clew", "audit", "records", "models:/fashion-classifier/1", *asked)
    return str(rows["records"][0]["subject"])


def explore() -> None:
    title("8. Look around")
    print(f"Open {(SCENE.folder / 'audit/index.html').relative_to(HERE)} in a browser, or:")
    print(f"cd {SCENE.work.relative_to(HERE)}")
    print("../../.venv/bin/mlflow ui --backend-store-uri sqlite:///.clew/mlflow.db")
    print("Then open http://127.0.0.1:5000 : experiment 'fashion', model 'fashion-classifier'.")


if __name__ == "__main__":
    main()
