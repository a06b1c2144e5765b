"""The mission in one screen: commit → data → job → model."""

from __future__ import annotations

from collections.abc import Iterator

from clew.context import Context
from clew.evaluate import Evaluation, evaluate
from clew.mlflow_runs import opened_run
from clew.preflight import preflight
from clew.process import Processed, process
from clew.register import Registered, register
from clew.request import RunRequest
from clew.train import Trained, train
from clew.version import Versioned, show_on_branch, version

Step = Processed | Versioned | Trained | Evaluation | Registered


def run(context: Context, request: RunRequest) -> Iterator[Step]:
    """Bring one commit to a registered model, yielding each step's result.

    What exists already is found and reused, so a run that was stopped after any step, or killed in
    the middle of one, continues where it was when it is run again.
    """
    preflight(context, request)
    yield (processed := process(context, request))
    versioned = version(context, request, processed)
    resolution = versioned.resolution
    with opened_run(context, request, resolution, processed) as parent:
        show_on_branch(context, request, versioned)
        yield versioned
        yield (trained := train(context, request, resolution, parent))
        yield (evaluation := evaluate(context, request, resolution, trained, parent))
        yield register(context, request, resolution, trained, evaluation)
