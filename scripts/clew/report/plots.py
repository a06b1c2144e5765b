"""The report's plots as data: which values, how they are called, which range; not how drawn."""

from __future__ import annotations

import math

from clew.report.document import Box, Chart, Flow, Series
from clew.report.facts import CODE, DATA, ENVIRONMENT, PARAMS, Report
from clew.report.words import main_metric, number

MOST_CATEGORIES = 12  # more can't be read on a phone
MOST_METRICS = MOST_CATEGORIES // 2  # each with base and head
SHORT = 12  # digits of an id
SHARE_HEADROOM = 0.1  # of the range, above and below a line that does not begin at nothing


def metrics(report: Report) -> Chart | None:
    """Return base and head of the declared metrics that are shares of one."""
    rows = [row for row in report.metrics if row.direction and row.delta is not None]
    pairs = [(row.name, row.base or 0.0, row.head or 0.0) for row in rows]
    shares = [one for one in pairs if 0 <= one[1] <= 1 and 0 <= one[2] <= 1][:MOST_METRICS]
    if not shares:
        return None
    names = tuple(f"{side} {name}" for name, *_ in shares for side in ("base", "head"))
    values = tuple(value for _, *both in shares for value in both)
    return Chart("Metrics", names, (Series("metrics", values),), 0.0, 1.0)


def history(report: Report) -> Chart | None:
    """Return the first declared metric over the last registered versions."""
    row = main_metric(report)
    if row is None:
        return None
    found = [(one.version, one.metrics.get(row.name, math.nan)) for one in report.history]
    points = [(f"v{version}", value) for version, value in found if math.isfinite(value)]
    if len(points) < 2:
        return None
    names, values = zip(*points, strict=True)
    low, high = _range(values)
    title = f"{row.name} of the last {len(points)} model versions"
    return Chart(title, names, (Series(row.name, values, line=True),), low, high)


def classes(report: Report) -> Chart | None:
    """Return how many records there are of each class now, and were before."""
    rows = report.data.labels[:MOST_CATEGORIES] if report.data else ()
    if len(rows) < 2:
        return None
    series = (
        Series("head", tuple(float(row.head) for row in rows)),
        Series("base", tuple(float(row.base) for row in rows), line=True),
    )
    most = max(max(one.values) for one in series)
    more = len(report.data.labels) - len(rows) if report.data else 0
    title = "Records of each class" + (f", the {len(rows)} largest" if more else "")
    return Chart(title, tuple(row.label for row in rows), series, 0.0, most * 1.1 or 1.0)


def _range(values: tuple[float, ...]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = (high - low) * SHARE_HEADROOM or abs(high) * SHARE_HEADROOM or 1.0
    return low - pad, high + pad


def chain(report: Report) -> Flow:
    """Return how the head's model came to be; what differs from the base is marked."""
    side, found = report.head, report.head.resolution
    layers: list[tuple[Box, ...]] = [(Box(("commit", side.commit[:SHORT])),)]
    if found:
        lock = str(found.environment.get("lock", ""))[:SHORT]
        executor = str(found.environment.get("executor", ""))
        inputs = {
            DATA: ("data", found.data_fingerprint[:SHORT]),
            PARAMS: ("parameters", f"{len(found.params)} values"),
            CODE: ("code", found.code_digest[:SHORT]),
            ENVIRONMENT: ("environment", executor, *([lock] if lock else [])),
        }
        layers.append(tuple(Box(text, part in report.parts) for part, text in inputs.items()))
    layers.append((Box(("training", found.run_fingerprint[:SHORT] if found else "unknown")),))
    if side.run:
        row = main_metric(report)
        shown = f"{row.name} {number(row.head)}" if row and row.head is not None else "no metric"
        layers.append((Box(("MLflow run", side.run.id[:SHORT], shown)),))
    if side.version:
        layers.append((Box(("model", f"{side.version.name} {side.version.version}")),))
    return Flow("How the head's model came to be; thick: differs from the base", tuple(layers))
