"""Who may do what (sections 2, 8 and 14): the account's permissions, and those in a project.

What each level allows is not on the page: here managers of the account approve everywhere, and
within a project its lead, its approvers and its administrators.
"""

from simulators.kantata import participations
from simulators.kantata.errors import system
from simulators.kantata.scene import Scene
from simulators.kantata.values import ids_in, text_in

ACCOUNT_ADMIN = "Account Administrator"
PROJECT_ADMIN = "admin"
PRIVATE = "admins"
"""The access level of a project which nobody joins by approving in it; unverified."""

_MANAGERS = frozenset({ACCOUNT_ADMIN, "Administrator"})


def is_account_admin(scene: Scene) -> bool:
    """Whether the user administers the account."""
    return _permission(scene) == ACCOUNT_ADMIN


def is_manager(scene: Scene) -> bool:
    """Whether the user manages all projects of the account."""
    return _permission(scene) in _MANAGERS


def may_approve(scene: Scene, workspace_id: str) -> bool:
    """Whether the user approves time and expenses of a project."""
    if is_manager(scene):
        return True
    workspace = scene.find("workspaces", workspace_id)
    if workspace is None:
        return False
    if scene.user_id in (
        workspace.fields.get("primary_maven_id"),
        *ids_in(workspace.fields, "approver_ids"),
    ):
        return True
    member = participations.find(scene, workspace_id, scene.user_id)
    return member is not None and member.fields["access_level"] == PROJECT_ADMIN


def require_approver(scene: Scene, workspace_id: str) -> None:
    """Refuse who may not approve.

    Raises:
        ApiError: 403.
    """
    if not may_approve(scene, workspace_id):
        raise system(403, "You are not allowed to approve on this project")


def _permission(scene: Scene) -> str:
    user = scene.find("users", scene.user_id)
    return "" if user is None else text_in(user.fields, "account_permission")
