"""A trace as an indented tree for people."""

from __future__ import annotations

from collections.abc import Iterator

from clew.chain import Node, Trace

HIDDEN = {"dvc_repo_url", "dvc_remote_url"}  # shown as nodes of their own


def tree(trace: Trace) -> str:
    """Return the chain from its starting points down, each fact with where it was read."""
    targets = {edge.target for edge in trace.edges}
    roots = [node for node in trace.nodes if node not in targets]
    start = [trace.subject] if trace.subject in trace.nodes else roots or list(trace.nodes)[:1]
    seen: set[str] = set()
    shown: set[tuple[str, str]] = set()
    lines = [line for root in start for line in _branch(trace, root, 0, "", seen, shown)]
    failed = [check for check in trace.checks if check.verdict != "PASS"]
    lines += ["", *(f"{c.verdict}: {c.what} ({c.evidence})" for c in failed)]
    passed = len(trace.checks) - len(failed)
    return "\n".join([*lines, f"{trace.verdict}: {passed} of {len(trace.checks)} checks passed"])


def _branch(
    trace: Trace, name: str, depth: int, relation: str, seen: set[str], shown: set[tuple[str, str]]
) -> Iterator[str]:
    node = trace.nodes[name]
    indent = "   " * depth
    arrow = f"└─ {relation} → " if relation else ""
    known = name in seen
    yield f"{indent}{arrow}{_title(node)}{' (above)' if known else ''}"
    if known:
        return
    seen.add(name)
    yield from _facts(node, indent + "   ", shown)
    for edge in trace.edges:
        if edge.source == name:
            yield from _branch(trace, edge.target, depth + 1, edge.relation, seen, shown)


def _title(node: Node) -> str:
    return node.id if node.id.startswith(node.kind) else f"{node.kind} {node.id}"


def _facts(node: Node, indent: str, shown: set[tuple[str, str]]) -> Iterator[str]:
    """Yield the facts that were not shown further up; what is equal there was checked."""
    source = ""
    for fact in node.facts:
        known = (fact.key, fact.value) in shown or fact.value in node.id.split(" ")
        if fact.key in HIDDEN or known:
            continue
        shown.add((fact.key, fact.value))
        if fact.source != source:
            source = fact.source
            yield f"{indent}[{source}]"
        yield f"{indent}{fact.key}: {fact.value}"
