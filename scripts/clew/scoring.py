"""scoring: what is asked of a served model and answered, by MLflow's scoring protocol."""

from __future__ import annotations

import json

from clew.serving import ModelRefused


def rows(example: bytes) -> int | None:
    """Return how many rows MLflow's scoring protocol asks for, None where that can't be told.

    https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally
    """
    try:
        document = json.loads(example)
        if "dataframe_split" in document:
            return len(document["dataframe_split"]["data"])
        if "dataframe_records" in document:
            return len(document["dataframe_records"])
        # Tensors have their rows first; a list of anything else is one input.
        return len(document["inputs"]) if isinstance(document["inputs"][0], list) else None
    except (ValueError, LookupError, TypeError):
        return None


def predictions(answer: bytes) -> int:
    """Return how many predictions an answer has; ModelRefused where it has none."""
    try:
        found = json.loads(answer)["predictions"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelRefused(f"its answer has no predictions: {answer[:200]!r}") from error
    return len(found) if isinstance(found, list) else 1
