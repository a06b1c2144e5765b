"""Cuts what clew asks of GitHub out of GitHub's own OpenAPI description.

    python tests/forge/openapi/extract.py FOLDER/node_modules/@octokit/openapi

README.md beside this file says where that comes from and how to renew the subset.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUBSET = Path(__file__).with_name("github.json")
OPERATIONS = frozenset(
    {
        "issues/create-comment",
        "issues/delete-comment",
        "issues/get",
        "issues/get-comment",
        "issues/list-comments",
        "issues/update-comment",
        "pulls/get",
        "pulls/list",
        "repos/create-commit-status",
        "repos/get-commit",
        "users/get-authenticated",
    }
)
METHODS = ("get", "post", "patch", "put", "delete")
# Words and examples for readers; nothing that is validated.
LEFT_OUT = ("example", "examples", "externalDocs", "summary", "x-github", "x-octokit")
JSON, ALIAS = "application/json", "application/vnd.github+json"
# What GitHub's words say of all operations, and its description of some:
# https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
# https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api
ANYWHERE = ("401", "403", "404", "429", "500", "502", "503")


def subset(whole: dict[str, Any]) -> dict[str, Any]:
    """Return the operations and all that they refer to; KeyError when GitHub has one no more."""
    paths: dict[str, Any] = {}
    for path, item in whole["paths"].items():
        for method in METHODS:
            if item.get(method, {}).get("operationId") in OPERATIONS:
                paths.setdefault(path, {})[method] = _bare(item[method])
    found = {operation["operationId"] for item in paths.values() for operation in item.values()}
    if missing := OPERATIONS - found:
        raise KeyError(f"GitHub's description has no {', '.join(sorted(missing))}")
    return {
        "openapi": whole["openapi"],
        "info": {name: whole["info"][name] for name in ("title", "version", "license")},
        "servers": whole["servers"],
        "paths": paths,
        "components": _components(whole, paths),
    }


def failing(description: dict[str, Any]) -> dict[str, Any]:
    """Let each operation fail in the ways that all may fail."""
    media = {"schema": {"$ref": "#/components/schemas/basic-error"}}
    failure = {"description": "", "content": {JSON: media, ALIAS: media}}
    description["components"]["responses"]["failure"] = failure
    for item in description["paths"].values():
        for operation in item.values():
            for code in ANYWHERE:
                reference = {"$ref": "#/components/responses/failure"}
                operation["responses"].setdefault(code, reference)
    return description


def _components(whole: dict[str, Any], paths: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    waiting = list(_references(paths))
    while waiting:
        _, _, kind, name = waiting.pop().split("/")
        if name not in kept.setdefault(kind, {}):
            kept[kind][name] = _bare(whole["components"][kind][name])
            waiting += _references(kept[kind][name])
    return {kind: dict(sorted(kept[kind].items())) for kind in sorted(kept)}


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from _references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _references(inner)


def _bare(part: Any, *, names: bool = False) -> Any:
    """Return a part without words for readers; `names`: its keys are a schema's properties."""
    if isinstance(part, list):
        return [_bare(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    if names:
        return {name: _bare(inner) for name, inner in part.items()}
    kept = {
        name: _bare(inner, names=name == "properties")
        for name, inner in part.items()
        if name not in LEFT_OUT
    }
    if "description" in kept:  # OpenAPI wants a response to have one
        kept["description"] = ""
    return kept | ({ALIAS: kept[JSON]} if JSON in kept else {})


def main() -> None:
    package = Path(sys.argv[1])
    whole = json.loads((package / "generated" / "api.github.com.json").read_text("utf-8"))
    SUBSET.write_text(json.dumps(failing(subset(whole)), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
