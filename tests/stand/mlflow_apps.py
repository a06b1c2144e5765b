"""SageMaker's MLflow Apps: their description; the tracking itself is a plain MLflow server."""

from __future__ import annotations

from tests.stand.api import Listing, Record, answer_shape, now, operation, project
from tests.stand.auto_registration import AutoRegistration
from tests.stand.errors import not_found
from tests.stand.identity import ACCOUNT, REGION, role_arn
from tests.stand.world import World

VERSION = "3.0"
MLFLOW_APP_ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:mlflow-app/app-000000000001"
LIST = Listing("Summaries", "MlflowAppSummary", "Name", equals={"Status": "Status"})


class MlflowApps:
    """Every App answers from the same server, see SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT."""

    def __init__(self, world: World, registration: AutoRegistration) -> None:
        self._world = world
        self._registration = registration
        self._apps: dict[str, Record] = {}
        if world.settings.mlflow_uri:
            self.create(
                {
                    "Name": "clew",
                    "ArtifactStoreUri": f"s3://{world.settings.bucket}/mlflow",
                    "RoleArn": role_arn(world.settings.roles[0]),
                }
            )

    @operation("CreateMlflowApp")
    def create(self, request: Record) -> Record:
        number = len(self._apps) + 1
        arn = self._world.arn("mlflow-app", f"app-{number:012x}")
        moment = now()
        self._apps[arn] = {
            "ModelRegistrationMode": "AutoModelRegistrationDisabled",
            "AccountDefaultStatus": "DISABLED",
            **request,
            "Arn": arn,
            "Status": "Created",
            "MlflowVersion": VERSION,
            "CreationTime": moment,
            "LastModifiedTime": moment,
        }
        self._world.tag(arn, request.get("Tags", []))
        self._registration.set(self._apps[arn])
        return {"Arn": arn}

    def _find(self, request: Record) -> Record:
        if request["Arn"] not in self._apps:
            raise not_found(f"MlflowApp with ARN {request['Arn']} does not exist.")
        return self._apps[request["Arn"]]

    @operation("DescribeMlflowApp")
    def describe(self, request: Record) -> Record:
        return project(self._find(request), answer_shape("DescribeMlflowApp"))

    @operation("ListMlflowApps")
    def list(self, request: Record) -> Record:
        return LIST(self._apps.values(), request)

    @operation("UpdateMlflowApp")
    def update(self, request: Record) -> Record:
        self._find(request).update(request, Status="Updated", LastModifiedTime=now())
        self._registration.set(self._find(request))
        return {"Arn": request["Arn"]}

    @operation("DeleteMlflowApp")
    def delete(self, request: Record) -> Record:
        self._find(request)
        del self._apps[request["Arn"]]
        self._world.tags.pop(request["Arn"], None)
        return {"Arn": request["Arn"]}
