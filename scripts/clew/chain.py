"""The answer of `clew trace`: nodes and edges, and what was held against each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fact:
    key: str
    value: str
    source: str  # where it was read


@dataclass
class Node:
    id: str
    kind: str
    facts: list[Fact] = field(default_factory=list)


@dataclass(frozen=True)
class Edge:
    source: str
    target: str
    relation: str


@dataclass(frozen=True)
class Check:
    """Two readings of one fact held against each other."""

    what: str
    verdict: str  # PASS | FAIL | UNVERIFIABLE
    evidence: str


@dataclass
class Trace:
    subject: str
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """FAIL when evidence contradicts itself, UNVERIFIABLE when some is missing, else PASS."""
        verdicts = {check.verdict for check in self.checks}
        return next((v for v in ("FAIL", "UNVERIFIABLE") if v in verdicts), "PASS")

    def add(self, node: str, kind: str, facts: dict[str, str], source: str) -> None:
        known = self.nodes.setdefault(node, Node(node, kind))
        have = {fact.key for fact in known.facts}
        known.facts += [Fact(k, v, source) for k, v in facts.items() if k not in have]

    def link(self, source: str, target: str, relation: str) -> None:
        edge = Edge(source, target, relation)
        if edge not in self.edges:
            self.edges.append(edge)

    def check(self, what: str, passed: bool | None, evidence: str) -> None:
        verdict = {True: "PASS", False: "FAIL", None: "UNVERIFIABLE"}[passed]
        made = Check(what, verdict, evidence)
        if made not in self.checks:
            self.checks.append(made)

    def as_json(self) -> dict[str, Any]:
        nodes = [
            {"id": n.id, "kind": n.kind, "facts": [vars(fact) for fact in n.facts]}
            for n in self.nodes.values()
        ]
        return {
            "subject": self.subject,
            "verdict": self.verdict,
            "nodes": nodes,
            "edges": [vars(edge) for edge in self.edges],
            "checks": [vars(check) for check in self.checks],
        }
