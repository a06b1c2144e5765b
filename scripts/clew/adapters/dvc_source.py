"""The `dvc` source type of MLflow datasets, found by MLflow through an entry point.

https://mlflow.org/docs/latest/ml/plugins/ (`mlflow.dataset_source`)
"""

from __future__ import annotations

from typing import Any

from mlflow.data.dataset_source import DatasetSource


class DvcDatasetSource(DatasetSource):  # type: ignore[misc]
    """A data version: which commit of which repository holds the DVC pointers of which paths."""

    def __init__(self, url: str, rev: str, paths: str, remote: str) -> None:
        self.url = url
        self.rev = rev
        self.paths = paths  # as a shell would split them, relative to the repository
        self.remote = remote

    @staticmethod
    def _get_source_type() -> str:
        return "dvc"

    def load(self, dst_path: str | None = None) -> str:
        """Download the data to a folder, `dst_path` or a new one, and return the folder."""
        import shlex
        import tempfile
        from pathlib import Path

        from dvc.api import DVCFileSystem

        target = Path(dst_path or tempfile.mkdtemp(prefix="data-"))
        fs = DVCFileSystem(self.url, rev=self.rev)
        for path in shlex.split(self.paths):
            fs.get(path, str(target / path), recursive=True)
        return str(target)

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return isinstance(raw_source, DvcDatasetSource)

    @classmethod
    def _resolve(cls, raw_source: Any) -> DvcDatasetSource:
        source: DvcDatasetSource = raw_source
        return source

    def to_dict(self) -> dict[str, Any]:
        return {"url": self.url, "rev": self.rev, "paths": self.paths, "remote": self.remote}

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> DvcDatasetSource:
        return cls(**source_dict)
