"""Tags on everything that the stand's SageMaker made itself."""

from __future__ import annotations

from tests.stand.api import Record, cut, operation
from tests.stand.errors import AwsError, validation
from tests.stand.world import World

MOST = 50  # per resource


class Tags:
    """AddTags, ListTags and DeleteTags; other ARNs are moto's."""

    def __init__(self, world: World) -> None:
        self._world = world

    def knows(self, arn: str) -> bool:
        return arn in self._world.tags

    def _of(self, arn: str) -> dict[str, str]:
        if arn not in self._world.tags:
            raise validation(f"Could not find resource with arn {arn}")
        return self._world.tags[arn]

    @operation("AddTags")
    def add(self, request: Record) -> Record:
        with self._world.lock:
            tags = self._of(request["ResourceArn"])
            if len(tags.keys() | {tag["Key"] for tag in request["Tags"]}) > MOST:
                raise AwsError(
                    "ResourceLimitExceeded", f"The number of tags can't be more than {MOST}."
                )
            self._world.tag(request["ResourceArn"], request["Tags"])
            return {"Tags": _listed(self._of(request["ResourceArn"]))}

    @operation("ListTags")
    def list(self, request: Record) -> Record:
        page, token = cut(_listed(self._of(request["ResourceArn"])), request, MOST)
        return {"Tags": list(page)} | ({"NextToken": token} if token else {})

    @operation("DeleteTags")
    def delete(self, request: Record) -> Record:
        with self._world.lock:
            tags = self._of(request["ResourceArn"])
            for key in request["TagKeys"]:
                tags.pop(key, None)
        return {}


def _listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
