"""Artifacts and associations in SageMaker ML Lineage Tracking.

https://docs.aws.amazon.com/sagemaker/latest/dg/lineage-tracking-entities.html
"""

from __future__ import annotations

from typing import Any

from clew.adapters.aws import message_of, translated
from clew.adapters.pace import Pace, PacedAws
from clew.edges import Entity, LineageGraph
from clew.errors import OutsideError

PRODUCED, CONTRIBUTED = "Produced", "ContributedTo"


class SageMakerLineage(LineageGraph):
    """The lineage graph of one region."""

    def __init__(self, region: str, pace: Pace) -> None:
        self._aws = PacedAws(region, pace)

    @property
    def _client(self) -> Any:
        return self._aws.client("sagemaker")

    @translated
    def link(self, data: Entity, job_arn: str, run: Entity) -> None:
        job = self._trial_component(job_arn)
        self._associate(self._artifact(data), job, CONTRIBUTED)
        self._associate(job, self._artifact(run), PRODUCED)

    def _trial_component(self, job_arn: str) -> str:
        """Return what SageMaker makes of every job, some time after it began."""
        found = self._client.list_trial_components(SourceArn=job_arn)["TrialComponentSummaries"]
        if not found:
            raise OutsideError(
                f"SageMaker's lineage does not have the job {job_arn} yet",
                fix="Run it again in a while; nothing is trained again.",
            )
        return str(found[0]["TrialComponentArn"])

    def _artifact(self, entity: Entity) -> str:
        """Return the ARN of an artifact, made if there is none; of twins the older stays."""
        from botocore.exceptions import ClientError

        if known := self._known(entity):
            return known
        try:
            made = self._client.create_artifact(
                ArtifactName=entity.name,
                Source={"SourceUri": entity.source},
                ArtifactType=entity.kind,
                Properties=dict(entity.properties),
            )["ArtifactArn"]
        except ClientError as error:
            if "already exists" not in message_of(error):
                raise
            made = None
        known = self._known(entity)
        if known is None:
            raise OutsideError(
                f"SageMaker's lineage does not list {entity.source}", fix="Try again."
            )
        if made is not None and known != made:
            self._client.delete_artifact(ArtifactArn=made)
        return known

    def _known(self, entity: Entity) -> str | None:
        found = self._client.list_artifacts(
            SourceUri=entity.source,
            ArtifactType=entity.kind,
            SortBy="CreationTime",
            SortOrder="Ascending",
        )["ArtifactSummaries"]
        return str(found[0]["ArtifactArn"]) if found else None

    def _associate(self, source: str, destination: str, kind: str) -> None:
        from botocore.exceptions import ClientError

        ends = {"SourceArn": source, "DestinationArn": destination}
        if self._client.list_associations(**ends)["AssociationSummaries"]:
            return
        try:
            self._client.add_association(**ends, AssociationType=kind)
        except ClientError as error:
            if "already exists" not in message_of(error):
                raise
