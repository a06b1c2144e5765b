"""`clew`: its commands in groups, and how each kind of error ends."""

from __future__ import annotations

import errno
import gc
import json
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any

import click

from clew import __version__
from clew.cli import (
    ask,
    attribute,
    audit,
    ci,
    cleanup,
    consent,
    deploy,
    doctor,
    index,
    init,
    jobs,
    report,
    steps,
    subjects,
)
from clew.errors import ClewError, Detached

# Imports fill the memory with what lives to the end. Looking for garbage in it at Python's usual
# pace, and once more at exit, costs a third of the time of a short command.
GARBAGE_THRESHOLD = 100_000
BUG = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 130
GROUPS = {
    "Set-up": ["init", "check", "doctor"],
    "The whole flow": ["run", "dispatch"],
    "In CI": ["ci", "reconcile"],
    "Its steps": ["process", "version", "train", "evaluate", "register"],
    "Questions": ["resolve", "trace", "report", "attribute"],
    "Jobs": ["jobs", "wait"],
    "Records": ["audit", "consent", "index", "subject"],
    "Clean-up": ["gc"],
    "Deployment": ["deploy", "rollback", "undeploy"],
}


class GroupedHelp(click.Group):
    """Lists the commands under what they are for."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, names in GROUPS.items():
            with formatter.section(title):
                rows = [(name, self.commands[name].get_short_help_str(70)) for name in names]
                formatter.write_dl(rows)


@click.group(cls=GroupedHelp)
@click.version_option(__version__, prog_name="clew")
def clew() -> None:
    """Lead from a model in production back to the exact data, code and parameters."""


for module in (
    init,
    steps,
    ci,
    ask,
    report,
    attribute,
    doctor,
    audit,
    jobs,
    index,
    subjects,
    cleanup,
    consent,
    deploy,
):
    for command in module.COMMANDS:
        clew.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    signal.signal(signal.SIGTERM, _interrupt)  # how CI systems cancel
    argv = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = clew.main(argv, prog_name="clew", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("clew: interrupted; run the same command again to continue", err=True)
        sys.exit(INTERRUPTED)
    except Detached as left:
        if "--json" in argv:
            click.echo(json.dumps({"detached": left.job}))
        click.echo(f"clew: {left}", err=True)
        sys.exit(left.exit_code)
    except Exception as error:
        sys.exit(_failed(error, argv))
    finally:
        gc.freeze()


def _interrupt(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # what follows is the clean-up, which must be whole
    raise KeyboardInterrupt


def _failed(error: Exception, argv: list[str]) -> int:
    """Say what went wrong, for people or for programs, and return the exit code."""
    if "-v" in argv or "--verbose" in argv:
        traceback.print_exception(error)
    what, fix, code = _words(error)
    if "--json" in argv:
        document: dict[str, Any] = {"error": what, "fix": fix, "exit_code": code}
        click.echo(json.dumps(document))
    click.echo(f"clew: {what}", err=True)
    if fix:
        click.echo(f"  {fix}", err=True)
    return code


def _words(error: Exception) -> tuple[str, str, int]:
    if isinstance(error, ClewError):
        return error.what, error.fix, error.exit_code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        where = f" ({error.filename})" if error.filename else ""
        return f"the disk is full{where}", "Free some space and run the same command again.", 4
    if isinstance(error, OSError):
        return str(error), "Put that right and run the same command again.", 4
    said = f"{type(error).__name__}: {error}"
    fix = "This is a bug in clew: please report it with what `-v` prints."
    return said, fix, BUG
