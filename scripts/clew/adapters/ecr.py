"""Images in Amazon ECR."""

from __future__ import annotations

from clew.account import Image
from clew.adapters.aws import Aws, code_of

ABSENT = ("ImageNotFoundException", "RepositoryNotFoundException")


def has_image(aws: Aws, image: Image) -> bool:
    """Tell whether an image is there; what AWS refuses to tell is raised."""
    from botocore.exceptions import ClientError

    wanted = {"imageDigest": image.digest} if image.digest else {"imageTag": image.tag}
    try:
        aws.client("ecr").describe_images(
            registryId=image.account, repositoryName=image.repository, imageIds=[wanted]
        )
    except ClientError as error:
        if code_of(error) in ABSENT:
            return False
        raise
    return True
