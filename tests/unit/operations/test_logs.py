"""What a worker writes: one JSON object a line, secrets and personal data masked."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from operations.logs import configure_logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


def test_every_line_is_json_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    log = structlog.get_logger("test")
    log.warning("call", token="abc123", url="https://me:hush@host/", seconds=1.5)
    logging.getLogger("temporalio.core").warning("Authorization: Bearer abcdefghijkl")
    try:
        raise ValueError("password=hush for a.person@example.com")
    except ValueError:
        log.exception("failed")
    written = capsys.readouterr().err
    lines = [json.loads(line) for line in written.splitlines()]
    assert [line["event"] for line in lines] == ["call", "Authorization: ***", "failed"]
    assert lines[0]["seconds"] == 1.5
    assert "ValueError" in lines[2]["exception"]
    for secret in ("abc123", "hush", "abcdefghijkl", "a.person"):
        assert secret not in written
