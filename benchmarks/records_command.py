"""`clew audit subject --offline` as a command: 10,000 data versions and 1,000 models in the index.

The repository is small, so what is measured is start-up, the vault, the index and the answer. The
seconds of the processors say more than those of the clock where others use them, too.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from clew.adapters.record_index_build import IndexBuilder
from clew.adapters.vault import SqliteVault
from clew.identity import CommitSha
from clew.records.index import IndexedModel, IndexedVersion, Joining
from clew.records.tokens import VaultTokens

VERSIONS, MODEL_EVERY = 10_000, 10
OTHERS = 20_000  # subjects that are not asked for
RECORDS, LIFE = 4, 100  # of the subject that is everywhere; data versions that each stays
FIRST_WITH, LAST_WITH = 5_001, 5_021  # data versions with the other one's record
RUNS = 11
KEY = "a1" * 32
NOW = datetime.now(UTC)
PIPELINE = """\
name: bench
data: {stages: [prepare], outputs: [data]}
train: {stages: [train], model: model, metrics: [metrics.json]}
code: {paths: [stages]}
mlflow: {tracking_uri: "sqlite:///mlflow.db", experiment: bench, model: bench}
records: {manifest: data/manifest.csv}
"""
FACTS = {
    "data_git_commit_id": "c" * 40,
    "data_fingerprint": "f" * 64,
    "manifest": "data/manifest.csv",
    "manifest_columns": '{"record": "record_id", "split": "split", "subject": "subject_id"}',
    "manifest_md5": "a" * 32,
    "manifest_sha256": "b" * 64,
    "records": "1000000",
    "subjects": "250000",
    "consent_sha256": "e" * 64,
}
GIT = {
    **{f"GIT_{who}_{what}": "b@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": os.devnull,
}


class Command:
    """A repository with nothing but pipeline.yaml, the end of a log, a vault and an index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._git("init", "-q")
        (folder / "pipeline.yaml").write_text(PIPELINE)
        self._git("add", "pipeline.yaml")
        self._git("commit", "-qm", "Bench")
        tree = self._git("rev-parse", "HEAD^{tree}")
        self.head = CommitSha(self._git("commit-tree", "-m", "the last entry", tree))
        self._git("update-ref", "refs/clew/log/bench", self.head)
        (folder / ".clew").mkdir()
        self.tokens = VaultTokens(bytes.fromhex(KEY), SqliteVault(folder / ".clew/vault.db"))
        names = ["everywhere", "somewhere", *(f"other-{number}" for number in range(OTHERS))]
        self.known = self.tokens.of(names)

    def fill(self) -> None:
        """One subject has four records in every data version, another one for a while."""
        index = IndexBuilder(self.folder / ".clew/records/1.db")
        index.begin(self.tokens.id)
        index.need(self.tokens.generation())
        for number in range(1, VERSIONS + 1):
            facts = {**FACTS, "data_version": f"data/bench/{number:012}"}
            version = IndexedVersion(number, CommitSha(f"{number:040}"), NOW, facts)
            index.add_version(version, *self._change(number))
            if number % MODEL_EVERY == 0:
                entry = self.head if number == VERSIONS else CommitSha(f"{number:040}")
                uri = f"models:/bench/{number // MODEL_EVERY}"
                index.add_model(IndexedModel(entry, NOW.isoformat(), number, uri, "run"))
        index.finish()

    def _change(self, number: int) -> tuple[list[str], list[Joining]]:
        """Return which records leave and come with a data version."""
        if number == 1:
            others = [name for name in self.known if name.startswith("other")]
            every = [self._record(name, 0) for name in others]
            return [], [*every, *(self._record("everywhere", place) for place in range(RECORDS))]
        if number == FIRST_WITH:
            return [], [self._record("somewhere", number)]
        if number == LAST_WITH:
            return [f"somewhere-{FIRST_WITH}"], []
        place, moved = divmod(number, LIFE // RECORDS)
        if moved or place < 1:
            return [], []
        return [f"everywhere-{place - 1}"], [self._record("everywhere", place + RECORDS - 1)]

    def _record(self, name: str, number: int) -> Joining:
        return Joining(f"{name}-{number}", self.known[name], "train")

    def seconds(self, *arguments: str) -> str:
        """Return the median seconds of a command, by the clock and on the processors."""
        clock, used = [], []
        for _ in range(RUNS):
            started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            self._run(Path(sys.executable).with_name("clew"), *arguments)
            clock.append(time.perf_counter() - started)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        return f"{statistics.median(clock):.3f} s, processors {statistics.median(used):.3f} s"

    def _git(self, *arguments: str) -> str:
        return self._run("git", *arguments)

    def _run(self, *arguments: str | Path) -> str:
        environment = {**os.environ, **GIT, "CLEW_SUBJECT_KEY": KEY}
        done = subprocess.run(
            arguments, cwd=self.folder, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="command-") as folder:
        command = Command(Path(folder))
        command.fill()
        for arguments in (
            ("--version",),
            *(
                ("audit", "subject", subject, "--offline", *form)
                for subject in ("nobody", "somewhere", "everywhere")
                for form in ((), ("--json",))
            ),
        ):
            print(f"{' '.join(arguments):<45} {command.seconds(*arguments)}", flush=True)


if __name__ == "__main__":
    main()
