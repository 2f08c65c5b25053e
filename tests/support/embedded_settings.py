"""How a connection signs in to a simulator: the embedded stack's own mapping."""

from embedded.configuration import SIGN_INS


def connection_settings(
    vendor: str, credentials: dict[str, str]
) -> tuple[dict[str, object], dict[str, str]]:
    """Return settings (without secrets) and secrets of a connection to a simulator."""
    sign_in = SIGN_INS[vendor]
    auth = {key: value.format_map(credentials) for key, value in sign_in.settings.items()}
    secrets = {key: credentials[name] for key, name in sign_in.secrets.items()}
    return {"auth": auth}, secrets
