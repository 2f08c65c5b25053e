"""`POST /workspaces/{id}/invite` (section 6.5), which sends mail; the body is unverified.

Who is on the account takes part at once; anybody else becomes a user of another account.
"""

from simulators.kantata import participations
from simulators.kantata.errors import ApiError, problem, syntax
from simulators.kantata.scene import Scene
from simulators.kantata.values import Fields, text_in
from simulators.kit import Effect, Record

ACTION = "invite"
MAILS = "invitation_mails"
"""Name in the account's state of the mails that were sent, oldest first."""
GUEST_ACCOUNT_ID = "2"


def invite(scene: Scene, workspace: Record, body: Fields) -> Record:
    """Let a person take part, and send a mail; return the participation.

    Raises:
        ApiError: 400, the root is missing; 422, the address is blank or takes part already.
    """
    given = body.get("invitation")
    if not isinstance(given, dict):
        raise syntax("Missing root key: invitation")
    address = text_in(given, "email_address")
    role = text_in(given, "invitee_role") or "maven"
    if "@" not in address:
        raise ApiError(422, [problem("email_address", "is invalid")])
    if role not in ("maven", "buyer"):
        raise ApiError(422, [problem("invitee_role", "is not included in the list")])
    user = _user(scene, address, text_in(given, "full_name"))
    if participations.find(scene, workspace.id, user.id) is not None:
        raise ApiError(422, [problem("email_address", "takes part already")])
    made = participations.join(scene, workspace.id, user.id, {"role": role})
    scene.note(Effect.CREATE, made)
    mails = scene.account.extra.setdefault(MAILS, [])
    if isinstance(mails, list):
        mails.append({"to": address, "subject": text_in(given, "subject")})
    return made


def _user(scene: Scene, address: str, full_name: str) -> Record:
    for row in scene.store.list("users"):
        if text_in(row.fields, "email_address").casefold() == address.casefold():
            return row
    known = {name: field.default for name, field in scene.catalog["users"].fields.items()}
    person: Fields = {
        **known,
        "full_name": full_name or address,
        "email_address": address,
        "account_id": GUEST_ACCOUNT_ID,
    }
    return scene.insert("users", person)
