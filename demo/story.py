"""The main job end to end, in a folder of its own, showing each command and what it printed.

`make demo` runs it; `.demo/` stays for you to explore and is made anew by the next run.
"""

from __future__ import annotations

import shutil
import time

from demo.scene import HERE, PRODUCTION, Scene, title

SCENE = Scene(HERE / ".demo")
ORIGIN = SCENE.folder / "origin.git"


def main() -> None:
    started = time.monotonic()
    prepare()
    two_versions(SCENE)
    follow_the_thread(SCENE)
    title("5. The exact data, from nothing but the model's name")
    SCENE.restore(ORIGIN)
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


def explore() -> None:
    title("6. Look around")
    print(f"cd {SCENE.work.relative_to(HERE)}")
    print("../../.venv/bin/mlflow ui --backend-store-uri sqlite:///.clew/mlflow.db")
    print("Then open http://127.0.0.1:5000 : experiment 'fashion', model 'fashion-classifier'.")


if __name__ == "__main__":
    main()
