"""publish: what a report comes to on a forge: a verdict for the commit, in one line."""

from __future__ import annotations

from clew.forge import State
from clew.report.facts import Report
from clew.report.words import verdict
from clew.response import Response


def verdict_of(report: Report, response: Response | None = None) -> tuple[State, str]:
    """Return the state of the commit's status and its words.

    Success takes a model that passed the gates, or a change that none of it depends on: nothing
    else lets a change be merged.
    """
    if response is not None and response.error is not None:
        return State.ERROR, response.error.what
    if response is not None and response.job:
        return State.PENDING, f"the job {response.job} runs"
    if report.untouched:
        return State.SUCCESS, "nothing that data or model depend on changed"
    unsure = report.unread or report.unjudged or report.unsure_of_consent
    if report.problems or (unsure and not report.refused):
        return State.ERROR, verdict(report)
    if report.evaluation is None and not report.refused:
        return State.PENDING, verdict(report)
    return (State.FAILURE if report.refused else State.SUCCESS), verdict(report)
