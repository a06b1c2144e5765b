"""AWS KMS: a subject key that lies encrypted in Git, and is decrypted by whom AWS allows to."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from clew.errors import ConfigError, OutsideError
from clew.records.keys import KEY_BYTES

CONTEXT = {"purpose": "clew subject key"}  # KMS decrypts only with the same words


def unwrapped(text: str, source: str, region: str | None) -> bytes:
    """Return the key that a file's base64 CiphertextBlob holds.

    https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html
    """
    try:
        blob = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise ConfigError(
            f"{source} is not base64", fix="Make it with `clew subject key`."
        ) from error
    answer = _asked(region, "decrypt", CiphertextBlob=blob, EncryptionContext=CONTEXT)
    key = bytes(answer["Plaintext"])
    if len(key) < KEY_BYTES:
        raise ConfigError(
            f"{source} holds a key of {len(key)} bytes, and {KEY_BYTES} is the least",
            fix="Make one with `clew subject key --kms`.",
        )
    return key


def wrapped(key: bytes, kms_key: str, region: str | None) -> str:
    """Return a key, encrypted under a KMS key, in base64."""
    answer = _asked(region, "encrypt", KeyId=kms_key, Plaintext=key, EncryptionContext=CONTEXT)
    return base64.b64encode(answer["CiphertextBlob"]).decode()


def _asked(region: str | None, operation: str, **arguments: Any) -> Any:
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise ConfigError(
            "a subject key under AWS KMS needs boto3", fix="pip install 'clew[sagemaker]'"
        ) from error
    try:
        return getattr(boto3.client("kms", region_name=region), operation)(**arguments)
    except (BotoCoreError, ClientError) as error:
        raise OutsideError(
            f"AWS KMS did not {operation} the subject key: {error}",
            fix=f"Allow kms:{operation.title()} on its key to whoever runs this.",
        ) from error
