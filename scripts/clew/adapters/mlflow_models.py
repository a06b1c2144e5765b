"""MLflow: every version of every registered model, behind `RegisteredModels`."""

from __future__ import annotations

from typing import Any

from clew.adapters.mlflow_connection import Connection, translated
from clew.errors import OutsideError, Unverifiable
from clew.kept import Registered, RegisteredModels

PAGE = 200


class MlflowModels(RegisteredModels):
    """The model registry of an MLflow server or database."""

    def __init__(self, uri: str, model: str) -> None:
        self.uri = uri
        self._model = model  # the pipeline's own
        self._connection = Connection(uri, "", None)

    def registered(self) -> list[Registered]:
        try:
            self._connection.check(writing=False)
            return self._registered()
        except OutsideError as error:
            raise Unverifiable(
                f"which data registered models need can't be read: {error.what}", fix=error.fix
            ) from error

    @translated
    def _registered(self) -> list[Registered]:
        found: list[Registered] = []
        token: str | None = None
        while True:
            client = self._connection.client
            page = client.search_model_versions("", max_results=PAGE, page_token=token)
            found += [self._of(version) for version in page]
            token = page.token
            if not token:
                return found

    def _of(self, version: Any) -> Registered:
        commit = version.tags.get("data_git_commit_id")
        # Of one's own version its tag says all; a registry has thousands.
        known = bool(commit) and version.name == self._model
        params = {} if known else self._params(version.run_id)
        return Registered(
            uri=f"models:/{version.name}/{version.version}",
            model=version.name,
            commit=commit or params.get("data_git_commit_id", ""),
            repository=params.get("dvc_repo_url", ""),
            remote=params.get("dvc_remote_url", ""),
        )

    def _params(self, run_id: str | None) -> dict[str, str]:
        from mlflow.exceptions import MlflowException

        if not run_id:
            return {}
        try:
            return dict(self._connection.client.get_run(run_id).data.params)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}  # somebody deleted the run for good
            raise
