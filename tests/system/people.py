"""A small pipeline whose records are about people, some of whom change their minds."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.small import Small

PREPARE = """\
import csv, hashlib, pathlib
registry = csv.DictReader(open("data/consent.csv", newline=""))
active = {row["subject_id"] for row in registry if row["status"] == "active"}
out = pathlib.Path("data/prepared"); out.mkdir(parents=True, exist_ok=True)
rows = [["subject_id", "record_id", "file_path", "split", "label", "sha256"]]
for row in csv.DictReader(open("data/people.csv", newline="")):
    if row["subject_id"] in active:
        path = f"{row['record_id']}.txt"
        content = f"{row['label']} of {row['record_id']}\\n".encode()
        (out / path).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        rows.append([row["subject_id"], row["record_id"], path, row["split"], row["label"], sha256])
with (out / "manifest.csv").open("w", newline="") as file:
    csv.writer(file, lineterminator="\\n").writerows(rows)
print(f"prepared {len(rows) - 1}")
"""
SECTIONS = """\
records: {manifest: data/prepared/manifest.csv, key_file: ../home/subject.key}
consent: {registry: data/consent.csv}
"""
SUBJECTS = tuple(f"person-{name}" for name in ("ada", "bob", "cyd", "dan", "eve"))
HEADER = ["subject_id", "status", "updated_at", "reason"]
MODEL = "models:/small-model"
LONG_AGO = "2026-01-01"
SINCE = "2026-01-15T00:00:00Z"


@dataclass(frozen=True)
class People(Small):
    """Five people with two records each; the last is in the test split."""

    @property
    def key(self) -> Path:
        return self.folder / "home/subject.key"

    @property
    def registry(self) -> Path:
        return self.work / "data/consent.csv"

    def write(self, path: str, rows: list[list[str]]) -> None:
        with (self.work / path).open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def say(self, *revoked: str, subjects: tuple[str, ...] = SUBJECTS) -> None:
        """Write the registry anew, with these subjects revoked."""
        rows = [[s, "revoked" if s in revoked else "active", SINCE, ""] for s in subjects]
        self.write("data/consent.csv", [HEADER, *rows])

    def collect(self, subjects: tuple[str, ...]) -> None:
        """Write the raw data anew, of these subjects."""
        rows = [
            [subject, f"r-{SUBJECTS.index(subject)}-{n}", split, f"class-{n}"]
            for subject in subjects
            for split in ["test" if subject == SUBJECTS[-1] else "train"]
            for n in range(2)
        ]
        self.write("data/people.csv", [["subject_id", "record_id", "split", "label"], *rows])


def make_people(small: Small) -> People:
    """Return a small pipeline, made to be about people; committed, pushed, never run."""
    people = People(small.folder, variables=small.variables)
    (people.work / "stages/prepare.py").write_text(PREPARE)
    people.edit("dvc.yaml", "data/raw.txt, stages", "data/people.csv, data/consent.csv, stages")
    people.edit("dvc.yaml", "    params: [prepare.count]\n", "")
    with (people.work / "pipeline.yaml").open("a") as file:
        file.write(SECTIONS)
    people.collect(SUBJECTS)
    people.say()
    people.key.write_text("a1" * 32)
    people.key.chmod(0o600)
    people.commit("People")
    return people


def revoke(people: People, subject: str) -> None:
    done = people.clew("consent", "revoke", subject, "--reason", "moved away", "--push")
    assert done.returncode == 0, done.stderr
    time.sleep(1.1)  # Git's times are in whole seconds


def asked(people: People, *arguments: str, code: int = 0) -> Any:
    done = people.clew("audit", *arguments, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def mlflow(people: People, code: str) -> None:
    """Do something in MLflow by hand."""
    begin = "import sys, mlflow\nclient = mlflow.MlflowClient(sys.argv[1])\n"
    people.python(begin + code, f"sqlite:///{people.work}/.clew/mlflow.db")


def change_tag(people: People, name: str, value: str) -> None:
    mlflow(people, f"client.set_model_version_tag('small-model', '1', {name!r}, {value!r})")
