"""Worker Versioning: which build a worker is, and which workflows go on with the next one."""

from dataclasses import replace

from temporalio import workflow
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import WorkerDeploymentConfig

from operations.config import WorkerConfig
from workflows.registry import LIVING


def deployment(config: WorkerConfig) -> WorkerDeploymentConfig | None:
    """Return which build this is, None without Worker Versioning.

    A saga stays with the build that began it; workflows that live as long as what they look after
    go on with the current one.
    """
    if not config.build_id:
        return None
    for living in LIVING:
        _goes_on_with_the_current_build(living)
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(config.deployment_name, config.build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.PINNED,
    )


def _goes_on_with_the_current_build(living: type) -> None:
    """Say of a workflow what `@workflow.defn` says by `versioning_behavior`.

    It can't be said there: of a workflow with a behavior the server refuses every task that an
    unversioned worker completes (SDK 1.35, server 1.32), and unversioned is the default.
    """
    definition = workflow._Definition.must_from_class(living)
    said = replace(definition, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
    setattr(living, "__temporal_workflow_definition", said)
