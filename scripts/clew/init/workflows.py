"""The files for a forge: this repository's own, but for where clew comes from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

from clew import __version__
from clew.errors import ConfigError
from clew.init.pipeline_yaml import scalar
from clew.init.source import Source

FORGES = {  # what each needs: the template, and where it goes
    "github": {
        "clew.yml": ".github/workflows/clew{suffix}.yml",
        "report.yml": ".github/workflows/report{suffix}.yml",
    },
    "gitlab": {"gitlab-ci.yml": ".gitlab-ci.yml"},
    "codecommit": {"buildspec.yml": "buildspec.yml"},
    "none": {},
}
FORGES["all"] = FORGES["github"] | FORGES["gitlab"] | FORGES["codecommit"]
COMMAND = "clew ci --reports clew-reports"
ACTION = (
    "        uses: ./.github/actions/clew"
    " # zizmor: ignore[self-repository] the form that all runners know\n"
)
GITLAB = '    - python -m pip install --quiet "$CLEW_SOURCE"\n'
GITLAB_WORDS = "# Set CLEW_SOURCE to where clew is installed from, MLFLOW_TRACKING_URI to"
CODEBUILD = (
    "      - python -m pip install --quiet --disable-pip-version-check uv==0.13.9\n"
    "      - uv sync --quiet --frozen --extra sagemaker --extra mlflow-app --extra forges\n"
)
FINISH = "      - .venv/bin/python infra/finish.py\n"
MARK = "# clew init {version} sha256:{digest}\n"
MARKED = re.compile(r"(?P<body>.*\n)# clew init \S+ sha256:(?P<digest>[0-9a-f]{64})\n", re.DOTALL)
USES = re.compile(r"uses: (?P<at>[\w-]+/[\w.-]+)/\.github/actions/clew@(?P<sha>[0-9a-f]{40})\b")
PIP = re.compile(r"@ git\+(?P<at>https://[^\s'\"@]+)@(?P<sha>[0-9a-f]{40})\b")


@dataclass(frozen=True)
class Adoption:
    """What the files for a forge depend on."""

    forge: str
    source: Source
    pipeline: str = "pipeline.yaml"  # relative to the top of the Git repository
    name: str = ""  # of the pipeline
    requirements: str | None = None  # what the stages import, relative to the top

    @property
    def nested(self) -> bool:
        return "/" in self.pipeline


def render(adoption: Adoption) -> dict[str, str]:
    """Return the texts by path, relative to the top; ConfigError where GitHub can't get clew."""
    return {
        path: marked(_adapted(template, adoption)) for template, path in places(adoption).items()
    }


def places(adoption: Adoption) -> Mapping[str, str]:
    """Return where each template goes: workflows of several pipelines stand side by side."""
    suffix = f"-{adoption.name}" if adoption.nested else ""
    return {t: path.format(suffix=suffix) for t, path in FORGES[adoption.forge].items()}


def template(name: str) -> str:
    """Return a template, which is this repository's own file, byte for byte."""
    return (files("clew.init") / "templates" / name).read_text(encoding="utf-8")


def marked(body: str) -> str:
    """Return a text with a last line that tells later whether anybody has edited it."""
    return body + MARK.format(version=__version__, digest=_digest(body))


def is_unmodified(text: str) -> bool:
    """Tell whether a text is as some version of clew wrote it."""
    found = MARKED.fullmatch(text)
    return found is not None and _digest(found["body"]) == found["digest"]


def pipeline_of(text: str) -> str:
    """Return which pipeline.yaml a file of ours is for."""
    found = re.search(r"--pipeline (?P<path>'[^'\n]*'|[^\s'\";]+)", text)
    return found["path"].strip("'") if found else "pipeline.yaml"


def source_in(text: str) -> Source | None:
    """Return where a file of ours gets clew from."""
    if uses := USES.search(text):
        return Source(f"https://github.com/{uses['at']}", uses["sha"])
    pip = PIP.search(text)
    return Source(pip["at"], pip["sha"]) if pip else None


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _adapted(name: str, adoption: Adoption) -> str:
    text = template(name)
    for old, new in _changes(name, adoption):
        if text.count(old) != 1:
            raise AssertionError(f"the template {name} has {old!r} {text.count(old)} times")
        text = text.replace(old, new)
    return text


def _changes(name: str, adoption: Adoption) -> Iterator[tuple[str, str]]:
    """Yield what is replaced in a template."""
    requirement = f"git+{adoption.source.url}@{adoption.source.sha}"
    if name in FORGES["github"]:
        yield ACTION, _action(adoption)
        yield from _nested(adoption, name)
    elif name == "gitlab-ci.yml":
        yield GITLAB_WORDS, "# Set MLFLOW_TRACKING_URI to"
        yield GITLAB, _pip("    - python", adoption, f"clew @ {requirement}")
    else:
        wanted = f"clew[sagemaker,mlflow-app] @ {requirement}"
        make = "      - python -m venv .venv\n"
        yield CODEBUILD, make + _pip("      - .venv/bin/python", adoption, wanted)
        yield FINISH, f"      - .venv/bin/{COMMAND}\n"
    if adoption.nested:
        yield COMMAND, f"clew ci --pipeline {_word(adoption.pipeline)} --reports clew-reports"


def _action(adoption: Adoption) -> str:
    where = adoption.source.on_github
    if where is None:
        raise ConfigError(
            f"GitHub takes actions from GitHub alone, and clew is at {adoption.source.url}",
            fix="Name a copy there: clew init --source OWNER/REPO@SHA.",
        )
    uses = f"        uses: {where}/.github/actions/clew@{adoption.source.sha} # {__version__}\n"
    if adoption.requirements is None:
        return uses
    needed = scalar(adoption.requirements)
    return f"{uses}        with:\n          requirements: {needed} # what the stages import\n"


def _pip(python: str, adoption: Adoption, wanted: str) -> str:
    """Return the lines that install clew and what the stages import."""
    line = f'{python} -m pip install --quiet "{wanted}"\n'
    if adoption.requirements is None:
        return line
    return f"{line}{python} -m pip install --quiet -r {_word(adoption.requirements)}\n"


def _nested(adoption: Adoption, name: str) -> Iterator[tuple[str, str]]:
    """Yield what keeps the workflows of several pipelines apart."""
    if adoption.nested:
        title = name.removesuffix(".yml")
        yield f"\nname: {title}\n", f"\nname: {title} {adoption.name}\n"
        yield f"  group: {title}-${{{{", f"  group: {title}-{adoption.name}-${{{{"


def _word(path: str) -> str:
    """Return a path as one word of a shell, safe within a plain YAML text."""
    if not re.fullmatch(r"[A-Za-z0-9_][\w./@+-]*", path, re.ASCII):
        raise ConfigError(
            f"a workflow can't name the path {path!r}",
            fix="Use a folder of ASCII letters, digits and _ . / + -, or start clew by hand.",
        )
    return path
