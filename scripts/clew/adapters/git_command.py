"""One way to run git: nothing inherited, nothing asked, no hooks, every failure translated."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import cast

from clew.errors import ClewError, ConfigError, OutsideError
from clew.redaction import without_secrets

# A hook or an alias runs clew with GIT_DIR, GIT_WORK_TREE, GIT_INDEX_FILE, GIT_OBJECT_DIRECTORY,
# GIT_PREFIX… set: with them git would work on that repository or index instead of ours, and
# GIT_TRACE, GIT_PAGER or GIT_EXTERNAL_DIFF would change what it prints. Kept is only what says how
# to reach a remote (SSH, proxies, certificates, credentials) and where configuration is.
KEPT = re.compile(
    r"GIT_(SSH|SSH_COMMAND|SSH_VARIANT|ASKPASS|ALLOW_PROTOCOL|EXEC_PATH|CEILING_DIRECTORIES"
    r"|(CONFIG|SSL|HTTP|PROXY|CURL)_\w+)"
)
SETTINGS = {
    "LC_ALL": "C",  # messages are read
    "GIT_TERMINAL_PROMPT": "0",  # in CI nobody answers
    "GIT_OPTIONAL_LOCKS": "0",  # `git status` must not disturb a git that runs beside us
    "GIT_LITERAL_PATHSPECS": "1",  # a path is a path, whatever characters it has
    "GIT_NO_REPLACE_OBJECTS": "1",  # a commit means the same in every clone
    "GIT_ATTR_NOSYSTEM": "1",  # a machine's attributes must not change what an archive holds
}
OPTIONS = {
    "core.hooksPath": os.devnull,  # the user's hooks are for the user's commits
    "core.fsmonitor": "false",  # it names a program to run
    "commit.gpgSign": "false",  # a passphrase can't be asked for
    "tag.gpgSign": "false",
    "tag.forceSignAnnotated": "false",
    "push.gpgSign": "false",
    "i18n.commitEncoding": "UTF-8",
    "gc.auto": "0",  # no work left behind in the background
    "maintenance.auto": "false",
    "log.follow": "false",  # with one path it would show other paths
    "log.showSignature": "false",
    "http.lowSpeedLimit": "1",  # bytes per second: gives up on a remote that went silent …
    "http.lowSpeedTime": "60",  # … for so many seconds
}
COMMAND = re.compile(r"[a-z][a-z-]*")
BLOCK = 1 << 18  # bytes
SHOWN_LINES = 8  # of what git said


class Git:
    """Runs git in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> bytes:
        """Return what git printed; ConfigError or OutsideError when it failed."""
        done = self.attempt(*arguments, stdin=stdin, env=env)
        if done.returncode:
            raise failure(self.folder, arguments, done.returncode, done.stderr)
        return done.stdout

    def attempt(
        self,
        *arguments: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run git where a failure is an answer too; ConfigError when there is no git."""
        try:
            return subprocess.run(
                _command(arguments),
                cwd=self.folder,
                env=environment() | dict(env or {}),
                input=stdin,
                capture_output=True,
                check=False,
            )
        except (OSError, ValueError) as error:  # a NUL in an argument is a ValueError
            raise _not_started(self.folder, error) from error

    def stream(self, *arguments: str) -> Iterator[bytes]:
        """Yield what git prints, in blocks; git is stopped when the reader has enough."""
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    _command(arguments),
                    cwd=self.folder,
                    env=environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                )
            except OSError as error:
                raise _not_started(self.folder, error) from error
            with process:
                try:
                    output = cast("BufferedReader", process.stdout)
                    while block := output.read1(BLOCK):
                        yield block
                    code = process.wait()
                finally:
                    process.kill()
            if code:
                errors.seek(0)
                raise failure(self.folder, arguments, code, errors.read())


def environment() -> dict[str, str]:
    """Return the environment for git."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or KEPT.fullmatch(k)}
    return kept | SETTINGS


def failure(folder: Path, arguments: Sequence[str], code: int, stderr: bytes) -> ClewError:
    """Return the error that says what git could not do, why, and what to do."""
    said = without_secrets(stderr.decode(errors="replace")).strip()
    if "dubious ownership" in said or "safe.directory" in said:
        named = re.search(r"repository at '([^']+)'", said)
        owned = named[1] if named else folder
        return ConfigError(
            f"the Git repository at {owned} belongs to another user, so Git refuses to read it",
            fix=f"If you trust it: git config --global --add safe.directory {owned}",
        )
    if "not a git repository" in said:
        return ConfigError(
            f"there is no Git repository at {folder}", fix="Run `git init`, or go to your project."
        )
    command = next(word for word in arguments if COMMAND.fullmatch(word))
    lines = "\n  ".join(said.splitlines()[-SHOWN_LINES:]) or "it said nothing"
    return OutsideError(
        f"`git {command}` failed with exit status {code}:\n  {lines}",
        fix="Running the same command again is safe.",
    )


def _command(arguments: Sequence[str]) -> list[str]:
    options = [word for key, value in OPTIONS.items() for word in ("-c", f"{key}={value}")]
    return ["git", *options, *arguments]


def _not_started(folder: Path, error: Exception) -> ConfigError:
    if not folder.is_dir():
        return ConfigError(f"there is no folder {folder}")
    return ConfigError(f"git can't be started: {error}", fix="Install Git 2.31 or newer.")
