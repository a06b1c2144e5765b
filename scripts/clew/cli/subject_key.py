"""Where the subject key and the vault are, as pipeline.yaml and the environment say."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from clew.errors import ConfigError
from clew.records.keys import VARIABLE, parsed

if TYPE_CHECKING:
    from clew.config.model import Pipeline, Records
    from clew.records.tokens import VaultTokens

HOW = (
    f"Set {VARIABLE}, or name a file as records.key_file or records.kms_key_file in pipeline.yaml; "
    "`clew subject key` makes one."
)


def open_tokens(pipeline: Pipeline, folder: Path) -> VaultTokens:
    """Return the tokens of a pipeline's subjects; ConfigError where there is no key.

    `folder` is that of pipeline.yaml.
    """
    from clew.adapters.vault import SqliteVault
    from clew.records.tokens import VaultTokens

    records = records_of(pipeline)
    key = subject_key(pipeline, folder, os.environ)
    return VaultTokens(key, SqliteVault(folder / Path(records.vault).expanduser()))


def records_of(pipeline: Pipeline) -> Records:
    """Return the pipeline's records; ConfigError where it has none."""
    if pipeline.records is None:
        raise ConfigError(
            "pipeline.yaml says nothing of records, so nobody can tell whose they are",
            fix="Add `records: {manifest: …}`; docs/configuration.md lists its keys.",
        )
    return pipeline.records


def subject_key(pipeline: Pipeline, folder: Path, environment: Mapping[str, str]) -> bytes:
    """Return the key of the subjects' tokens: the variable's, or else that of the file."""
    records = records_of(pipeline)
    if text := environment.get(VARIABLE):
        return parsed(text, VARIABLE)
    if records.key_file:
        return key_in(folder / Path(records.key_file).expanduser())
    if records.kms_key_file:
        from clew.adapters.kms_key import unwrapped

        path = folder / records.kms_key_file
        settings = pipeline.executor.sagemaker
        return unwrapped(_text(path), str(path), settings.region if settings else None)
    raise ConfigError("there is no subject key, so subjects have no tokens", fix=HOW)


def key_in(path: Path) -> bytes:
    """Return the key in a file; ConfigError where others than its owner may read it."""
    text = _text(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"the subject key {path} may be read by others than its owner (mode {mode:o})",
            fix=f"chmod 600 {path}; if somebody may have seen it: clew subject rotate",
        )
    return parsed(text, str(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise ConfigError(f"there is no subject key {path}", fix=HOW) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the subject key {path} can't be read: {error}", fix=HOW) from error
