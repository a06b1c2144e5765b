"""The report's section on consent: who opts out, which models that touches, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator

from clew.consent.opt_out import Affected, OptOut
from clew.report.document import Block, Column, Line, Name, Paragraph, Section, Strong, Table
from clew.report.facts import Report
from clew.report.words import PASSED, REFUSED, UNSURE, main_metric, signed
from clew.wording import counted

MARKS = {"PASS": PASSED, "FAIL": REFUSED, "UNVERIFIABLE": UNSURE}


def consent_section(report: Report) -> Section:
    """Return the section; empty where no statement differs and all subjects agree."""
    found = report.consent
    changed = found is not None and (found.withdrawn or found.granted or found.problem)
    if found is None or not (changed or report.withdrawn or report.unsure_of_consent):
        return Section("Consent", ())
    blocks: list[Block] = [Paragraph(_verdict(found)), Paragraph(_changed(found))]
    if found.affected:
        titles = (Column("model with their records"), Column("live as"))
        numbers = (Column("subjects", True), Column("records", True))
        blocks.append(Table((*titles, *numbers), tuple(map(_row, found.affected))))
    blocks += [Paragraph(line) for line in _models(found)]
    if found.withdrawn and not report.withdrawn:
        blocks.append(Paragraph(_price(report)))
    return Section("Consent", tuple(blocks), rank=1)


def _verdict(found: OptOut) -> Line:
    line: Line = (f"{MARKS[found.verdict]} ", Strong(found.verdict), " for the head: ")
    if found.standing is None:
        return (*line, "its data is not made yet.")
    if reason := found.standing.reason:
        return (*line, "it can't be told who agrees: ", Name(reason, is_message=True), ".")
    return (*line, f"{found.standing}.")


def _changed(found: OptOut) -> Line:
    if found.problem and not found.withdrawn + found.granted:
        return (f"{UNSURE} What changed can't be told: ", Name(found.problem, is_message=True), ".")
    gone, came = counted(found.withdrawn, "subject"), counted(found.granted, "subject")
    return (Strong(f"{gone} opted out"), f" since the base, {came} opted in.")


def _row(one: Affected) -> tuple[Line, ...]:
    live: Line = tuple(part for where in one.live for part in (Name(where), " "))
    if one.problem:
        unknown: Line = (f"{UNSURE} ", Name(one.problem, is_message=True))
        return ((Name(one.model),), live, unknown, ())
    return ((Name(one.model),), live, (f"{one.subjects:,}",), (f"{one.records:,}",))


def _models(found: OptOut) -> Iterator[Line]:
    """Yield what is to be said of the models that there are."""
    if found.withdrawn and not found.affected and not found.problem:
        yield ("No model holds their records.",)
    if found.problem and found.withdrawn + found.granted:
        yield (f"{UNSURE} Not all is known: ", Name(found.problem, is_message=True), ".")


def _price(report: Report) -> Line:
    """Return what it takes to have a model without them, and what that changes."""
    row, cost = main_metric(report), f" costs {report.cost}" if report.cost else " is free here"
    if report.head.run is None:
        return (f"Training a model without them{cost}; its metrics are not known yet.",)
    words = f"The model without them is trained{f', for {report.cost}' if report.cost else ''}"
    if row is None or row.delta is None:
        return (f"{words}.",)
    promoted = "" if report.refused or report.unjudged else " Merging this promotes it."
    return (f"{words}: ", Name(row.name), f" {signed(row.delta, 4)}.{promoted}")
