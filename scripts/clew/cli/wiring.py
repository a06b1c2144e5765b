"""From options and environment to the outside systems that a command works with."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from clew.adapters.git import GitRepository
from clew.adapters.git_log import GitLog
from clew.cli.options import Options
from clew.config.load import load, overridden
from clew.config.schema import ValidationCache
from clew.errors import ConfigError
from clew.identity import CommitSha
from clew.project import Project

if TYPE_CHECKING:
    from clew.account import Account
    from clew.config.model import Pipeline, SageMaker
    from clew.consent.registry import Registry
    from clew.context import Context
    from clew.edges import LineageGraph
    from clew.garbage import Sources
    from clew.init.plan import Place, Plan
    from clew.packages import ModelPackages
    from clew.ports import Executor, Reporter, Tracker
    from clew.serving import Endpoints

SQLITE = "sqlite:///"
RUNNER, HOSTED = "RUNNER_ENVIRONMENT", "github-hosted"


def open_project(options: Options) -> Project:
    """Return the project that holds the pipeline.yaml; ConfigError outside of Git."""
    folder = options.pipeline.absolute().parent
    repository = GitRepository.discover(folder)
    inside = folder.resolve().relative_to(repository.root.resolve()).as_posix()
    return Project(repository, "" if inside == "." else inside, options.pipeline.name)


def state_folder(project: Project) -> Path:
    """Return `.clew`, which Git ignores without being told."""
    folder = project.repository.root / project.folder / ".clew"
    folder.mkdir(exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    return folder


def load_pipeline(project: Project, options: Options, commit: CommitSha) -> Pipeline:
    """Return pipeline.yaml as the commit has it, with what the environment overrides."""
    path = project.path(project.file)
    text = project.repository.read(commit, [path])[path]
    if text is None:
        raise ConfigError(
            f"the commit {commit[:12]} has no {path}", fix=_elsewhere(project, commit)
        )
    try:
        seen = ValidationCache(state_folder(project) / "cache")
    except OSError:  # a read-only checkout can be asked all the same
        seen = None
    return overridden(load(text, path, seen), os.environ, options.executor, options.instance)


def refuse_throwaway(pipeline: Pipeline) -> None:
    """Raise ConfigError for an MLflow that ends with this runner, and the models with it."""
    if os.environ.get(RUNNER) == HOSTED and pipeline.mlflow.tracking_uri.startswith(SQLITE):
        raise ConfigError(
            "MLflow is a file of this runner, which is thrown away with it",
            fix="Set the variable MLFLOW_TRACKING_URI, or mlflow.tracking_uri, to a server.",
        )


def _elsewhere(project: Project, commit: CommitSha) -> str:
    """Return what to do where a commit has no pipeline.yaml in this folder."""
    above = PurePosixPath(project.folder).parents if project.folder else ()
    places = [(folder / project.file).as_posix() for folder in above]
    found = [one for one, text in project.repository.read(commit, places).items() if text]
    if found:
        return f"This repository has {found[0]}: run this in its folder."
    return "Commit it, name another with --pipeline, or a commit from after it was added."


def open_context(
    project: Project, options: Options, commit: CommitSha, reporter: Reporter
) -> Context:
    """Return what the steps work with; nothing is contacted yet."""
    from clew.adapters.dvc import DvcStore
    from clew.context import Context

    pipeline = load_pipeline(project, options, commit)
    state = state_folder(project)
    packages, graph = _registry(pipeline)
    return Context(
        project=project,
        pipeline=pipeline,
        store=DvcStore(state.parent, pipeline.data.remote),
        executor=_executor(pipeline, state, options, reporter),
        tracker=_tracker(pipeline, state.parent),
        reporter=reporter,
        log=GitLog(project.repository.root, pipeline.name),
        state=state,
        packages=packages,
        graph=graph,
        endpoints=open_endpoints(pipeline) if pipeline.executor.sagemaker else None,
        consent=_consent(pipeline),
    )


def open_draft(place: Place, planned: Plan) -> tuple[Context, CommitSha]:
    """Return a commit of the working tree with a planned pipeline.yaml, on no branch."""
    from clew.adapters.dvc import DvcStore
    from clew.adapters.local import LocalExecutor
    from clew.cli.reporters import PlainReporter
    from clew.context import Context

    pipeline, state = planned.pipeline, place.path / ".clew"
    repository = GitRepository(place.top)
    tree = repository.snapshot([place.folder or "."])
    commit = repository.commit_file(tree, place.pipeline, planned.text, "A draft\n")
    context = Context(
        project=Project(repository, place.folder, place.file),
        pipeline=pipeline,
        store=DvcStore(place.path, pipeline.data.remote),
        executor=LocalExecutor(state / "jobs", {}),
        tracker=_tracker(pipeline, place.path),
        reporter=PlainReporter(),
        log=GitLog(repository.root, pipeline.name),
        state=state,
    )
    return context, commit


def open_account(
    project: Project, options: Options, commit: CommitSha, reporter: Reporter
) -> tuple[Context, Account | None]:
    """Return what can be examined even where no job could be started as things are."""
    executor = load_pipeline(project, options, commit).executor
    context = open_context(project, replace(options, executor="local"), commit, reporter)
    if executor.use != "sagemaker" or executor.sagemaker is None:
        return context, None
    from clew.adapters.sagemaker_doctor import SageMakerAccount

    return context, SageMakerAccount(executor.sagemaker)


def _registry(pipeline: Pipeline) -> tuple[ModelPackages | None, LineageGraph | None]:
    """Return SageMaker's model registry and lineage, where pipeline.yaml says where they are."""
    settings = pipeline.executor.sagemaker
    if settings is None:
        return None, None
    from clew.adapters.pace import Pace
    from clew.adapters.sagemaker_lineage import SageMakerLineage
    from clew.adapters.sagemaker_packages import SageMakerPackages

    mlflow, pace = pipeline.mlflow, Pace(_calls())
    packages = SageMakerPackages(settings, pipeline.name, mlflow.model, mlflow.tracking_uri, pace)
    return packages, SageMakerLineage(settings.region, pace)


def open_sources(context: Context) -> Sources:
    """Return where the evidence is for what DVC's cache and remote still have to hold."""
    from clew.adapters.dvc_objects import DvcObjects
    from clew.adapters.git_refs import GitRefs
    from clew.adapters.mlflow_models import MlflowModels
    from clew.garbage import Sources

    objects = DvcObjects(context.workdir, context.pipeline.data.remote)
    try:
        remote = objects.remote().shown_url
    except ConfigError:  # there is the cache all the same
        remote = ""
    refs = GitRefs(context.project.repository.root, remote)
    models = MlflowModels(context.tracker.uri, context.pipeline.mlflow.model)
    return Sources(refs, models, objects, context.reporter, _trained(context))


def _trained(context: Context) -> frozenset[str]:
    """Return the paths that the train stages make, which clew never pushes to the DVC remote."""
    from clew.dvcfiles import DEFINITIONS, definitions

    (text,) = context.read(context.project.repository.commit("HEAD"), DEFINITIONS)
    stages = definitions(text)
    names = [name for name in context.pipeline.train.stages if name in stages.stages]
    made = (out.path for name in names for out in stages.stage(name).outs())
    return frozenset(context.project.path(path) for path in made)


def open_endpoints(pipeline: Pipeline) -> Endpoints:
    """Return SageMaker's endpoints; ConfigError where pipeline.yaml does not say where they are."""
    settings = pipeline.executor.sagemaker
    if settings is None:
        raise ConfigError(
            "endpoints are SageMaker's, and pipeline.yaml has no executor.sagemaker",
            fix="Add it: docs/sagemaker.md shows how.",
        )
    from clew.adapters.pace import Pace
    from clew.adapters.sagemaker_endpoints import SageMakerEndpoints

    return SageMakerEndpoints(settings, Pace(_calls()))


def _consent(pipeline: Pipeline) -> Registry | None:
    """Return the database of consent, None where the CSV file in Git is all there is."""
    settings = pipeline.consent
    if settings is None or settings.database is None:
        return None
    from clew.adapters.consent_database import ConsentDatabase

    url = os.environ.get(settings.database)
    return ConsentDatabase(url, settings.database, settings.table)


def _executor(pipeline: Pipeline, state: Path, options: Options, reporter: Reporter) -> Executor:
    chosen = pipeline.executor
    if chosen.use == "sagemaker" and chosen.sagemaker is not None:
        return _sagemaker(pipeline, chosen.sagemaker, state, _stops(options, reporter))
    from clew.adapters.local import LocalExecutor

    names = chosen.local.pass_env
    inherited = {name: os.environ[name] for name in names if name in os.environ}
    return LocalExecutor(state / "jobs", inherited)


def _stops(options: Options, reporter: Reporter) -> Callable[[str], bool]:
    """Return what tells whether an interrupt stops a job too: asked once, where somebody is."""
    return lambda job: options.stop_on_interrupt or reporter.confirm(f"Stop the job {job} too?")


def _sagemaker(
    pipeline: Pipeline, settings: SageMaker, state: Path, stops: Callable[[str], bool]
) -> Executor:
    from clew.adapters.pace import Pace
    from clew.adapters.sagemaker import SageMakerExecutor

    if pipeline.mlflow.tracking_uri.startswith(SQLITE):
        from clew.doctor import unreachable

        raise unreachable(pipeline.mlflow.tracking_uri)
    return SageMakerExecutor(settings, state, stops, Pace(_calls()))


def _calls() -> Path:
    """Return the file by which all commands of a user keep to AWS's limit together."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "clew/sagemaker-calls"


def _tracker(pipeline: Pipeline, folder: Path) -> Tracker:
    from clew.adapters.mlflow import MlflowTracker

    uri, artifacts = pipeline.mlflow.tracking_uri, None
    if uri.startswith(SQLITE):
        database = (folder / uri.removeprefix(SQLITE)).absolute()
        uri, artifacts = f"{SQLITE}{database}", database.parent / "artifacts"
    return MlflowTracker(uri, pipeline.mlflow.experiment, pipeline.mlflow.model, artifacts)
