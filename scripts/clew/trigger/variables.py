"""What a retraining is asked with where the CI system has nothing but variables."""

from __future__ import annotations

from collections.abc import Mapping

from clew.trigger.model import Inputs, overrides


def inputs(environ: Mapping[str, str]) -> Inputs:
    """Return the inputs by their variables CLEW_REF, CLEW_PARAMS, CLEW_INSTANCE, CLEW_REASON.

    CLEW_EXECUTOR counts everywhere, not only here.
    """
    return Inputs(
        ref=environ.get("CLEW_REF", ""),
        params=overrides(environ.get("CLEW_PARAMS")),
        instance=environ.get("CLEW_INSTANCE", ""),
        reason=environ.get("CLEW_REASON", ""),
    )
