"""The subject key: at least 32 bytes that nobody has who may not tell whose records are where."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets

from clew.errors import ConfigError

KEY_BYTES = 32
VARIABLE = "CLEW_SUBJECT_KEY"
HEX = re.compile(r"[0-9a-fA-F]+")


def new_key() -> str:
    """Return a fresh key in the form that `parsed` takes."""
    return secrets.token_hex(KEY_BYTES)


def parsed(text: str, source: str) -> bytes:
    """Return the bytes of a key in hex or base64; ConfigError where it is no key."""
    word = text.strip()
    try:
        key = bytes.fromhex(word) if HEX.fullmatch(word) else base64.b64decode(word, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) < KEY_BYTES:
        raise ConfigError(
            f"{source} holds no subject key: at least {KEY_BYTES} bytes, in hex or base64",
            fix="Make one with `clew subject key`.",
        )
    return key


def digest(key: bytes, purpose: bytes, content: bytes) -> bytes:
    """Return the HMAC-SHA256 of a content for one purpose, 32 bytes (RFC 2104)."""
    return hmac.digest(key, purpose + b"\0" + content, "sha256")


def key_id(key: bytes) -> str:
    """Return what tells keys apart and gives none away."""
    return digest(key, b"id", b"").hex()[:16]
