"""What `clew audit report` writes: an answer, as data and as a page."""

from __future__ import annotations

from typing import Any

from clew.audit.answer import worst
from clew.audit.model import audit_model
from clew.audit.page import model_page, subject_page
from clew.audit.records import model_version
from clew.cli.audit import asked, proof
from clew.cli.subjects import given
from clew.consent.authority import authority, statements
from clew.context import Context
from clew.errors import ClewError
from clew.report.document import Document

Report = tuple[str, dict[str, Any], Document]  # with the verdict


def model_report(context: Context, about: str, made: str) -> Report:
    """Answer about a model."""
    trace = audit_model(context, model_version(context, about))
    return trace.verdict, trace.as_json(), model_page(trace, made)


def subject_report(
    context: Context, about: str, when: str | None, made: str, *, reveal: bool
) -> Report:
    """Answer about a subject, with a proof where it is asked for since when."""
    name = given(about)
    proven = proof(context, name, when) if when else None
    found = asked(context, name, offline=False)
    consent = _consent(context, name)
    shown = name if reveal else found.token or "an unknown subject"
    document = found.as_json() | {"consent": consent, "excluded": proven and proven.as_json()}
    verdict = worst([found.verdict, proven.verdict]) if proven else found.verdict
    whole = subject_page(found, shown, made, consent=consent, proof=proven)
    return verdict, document | {"verdict": verdict}, whole


def _consent(context: Context, subject: str) -> str:
    """Return what the registry that holds says of a subject, empty where there is none."""
    if context.pipeline.consent is None:
        return ""
    try:
        said = statements(context, authority(context)).get(subject)
    except ClewError as error:
        return f"it can't be told, as {error.what}"
    return f"{said.status} since {said.updated_at:%Y-%m-%d %H:%M} UTC" if said else "none recorded"
