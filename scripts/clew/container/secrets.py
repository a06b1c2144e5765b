"""Secrets of the stages, read by the job's own role: no job's definition holds them.

https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from clew.container.messages import JobError


def bring_secrets(secrets: Mapping[str, str]) -> None:
    """Set environment variables to the values of AWS secrets; JobError names one it can't read."""
    if not secrets:
        return
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import get_session

    for name, arn in secrets.items():
        client = get_session().create_client("secretsmanager", region_name=arn.split(":")[3])
        try:
            os.environ[name] = client.get_secret_value(SecretId=arn)["SecretString"]
        except (BotoCoreError, ClientError, KeyError) as error:
            raise JobError(f"the secret of {name}, {arn}, can't be read: {error}") from error
