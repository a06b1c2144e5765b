"""everywhere: what the index knows of a subject, held against manifests, MLflow and SageMaker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clew.audit.answer import FAIL, PASS, UNVERIFIABLE, Evidence
from clew.audit.live import live_models
from clew.audit.manifests import presences
from clew.audit.models import Known, known_models
from clew.audit.subject import Holder, Subject
from clew.context import Context
from clew.wording import counted


def subject_everywhere(
    context: Context,
    found: Subject,
    subject: str,
) -> Subject:
    """Return the same with what MLflow and SageMaker say now, held against the manifests."""
    models = known_models(context)
    live = live_models(context, models)
    held = {one.model for one in found.models}
    there = presences(context, models, {subject})
    evidence = [*found.evidence, *(_cross_check(one, there, held) for one in models)]
    if live.problem:
        evidence.append(Evidence("where models are live", UNVERIFIABLE, live.problem))
    evidence += [
        Evidence(tag, UNVERIFIABLE, "it has a tag, and the log has no entry of it")
        for tag in context.log.unlogged()
    ]
    holders = [
        Holder(
            one.uri,
            one.data_version,
            one.latest.isoformat(),
            live.of(one),
            one.deleted,
        )
        for one in models
        if one.uri in held or _holds(one, there)
    ]
    return Subject(
        token=found.token,
        verdict=UNVERIFIABLE if any(e.verdict != PASS for e in evidence) else PASS,
        offline=False,
        log=found.log,
        versions=found.versions,
        models=tuple(holders),
        evidence=tuple(evidence),
    )


def _holds(model: Known, there: Mapping[str, Any]) -> bool:
    presence = there.get(model.data_version)
    return bool(presence and presence.records)


def _cross_check(model: Known, there: Mapping[str, Any], held: set[str]) -> Evidence:
    """Hold what the index says of a model against its manifest."""
    presence = there.get(model.data_version)
    if presence is None or presence.records is None or model.problem:
        problem = model.problem or (presence.problem if presence else "its data version is unknown")
        return Evidence(model.uri, UNVERIFIABLE, problem, model.source)
    source = f"{model.data_version}, manifest sha256 {presence.sha256}"
    if not presence.signed:
        return Evidence(model.uri, UNVERIFIABLE, "nobody signed its manifest off", source)
    said = f"its manifest has {counted(presence.records, 'record')} of the subject"
    if model.stray:
        return Evidence(model.uri, UNVERIFIABLE, f"{said}; {model.stray}", source)
    if bool(presence.records) != ((model.copy_of or model.uri) in held):
        return Evidence(model.uri, FAIL, f"{said}, and the index says otherwise", source)
    return Evidence(model.uri, PASS, said, source)
