"""The commands on alerts: what they show, send, refuse; secrets are never printed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from canonical.saga import OpenWorkItem
from store import make_store
from tests.alerts.receivers import PASSWORD, SECRET, Mailbox, mailbox
from tests.cli.conftest import Cli, Ran
from tests.store.build import work_item
from tests.support.postgres import PostgresForTests, new_name

TOML = """
[people.olivia]
roles = ["operator"]

[people.vera]
roles = ["viewer"]

[alerts.channels.mail]
url_file = "mail"

[alerts.channels.wrong]
url_file = "wrong"
"""


@pytest.fixture
def mail() -> Iterator[Mailbox]:
    with mailbox() as running:
        yield running


@pytest.fixture
def desk(
    cli: Cli, tmp_path: Path, mail: Mailbox, postgres_url: str, monkeypatch: Any
) -> Iterator[Cli]:
    """Commands on a database of their own, with a mailbox and a wrong address."""
    (tmp_path / "dealthread.toml").write_text(TOML)
    (tmp_path / "mail").write_text(mail.url)
    (tmp_path / "wrong").write_text(f"slack://{SECRET}")
    name = new_name()

    async def create() -> SecretStr:
        server = PostgresForTests(postgres_url)
        try:
            url = await server.create(name, template="template0")
            store = make_store(url)
            await store.database.migrate()
            await store.work_items.open(OpenWorkItem(item=work_item()))
            await store.aclose()
            return url
        finally:
            await server.aclose()

    monkeypatch.setenv("DEALTHREAD_STORE__URL", asyncio.run(create()).get_secret_value())
    yield cli

    async def drop() -> None:
        server = PostgresForTests(postgres_url)
        await server.drop(name)
        await server.aclose()

    asyncio.run(drop())


def clean(ran: Ran) -> Ran:
    """Return what a command said, which has no secret in it."""
    for said in (ran.out, ran.err):
        assert SECRET not in said
        assert PASSWORD not in said
    return ran


def test_a_test_message_arrives_and_a_channel_that_is_down_is_told(
    desk: Cli, mail: Mailbox, tmp_path: Path
) -> None:
    assert clean(desk.run("alerts", "test", "mail")).out == (
        "sent  mail: a test message by mailto\n"
    )
    assert [subject for subject, _, _ in mail.got] == ["Test of Dealthread's alerts"]
    assert clean(desk.run("alerts", "test", "mail", "--json")).data == {
        "channel": "mail",
        "scheme": "mailto",
        "sent": True,
    }

    (tmp_path / "mail").write_text(Mailbox(port=1).url)
    down = desk.refused("alerts", "test", "mail")
    assert "mail took nothing: mailto: Connection error" in down
    assert PASSWORD not in down


def test_a_wrong_address_and_an_unknown_channel_are_refused(desk: Cli, tmp_path: Path) -> None:
    wrong = desk.refused("alerts", "test", "wrong")
    assert "alerts.channels.wrong.url is no address that Apprise knows" in wrong
    assert SECRET not in wrong
    assert "there are mail, wrong" in desk.refused("alerts", "test", "nobody")

    (tmp_path / "wrong").unlink()
    assert "alerts.channels.wrong.url_file" in desk.refused("alerts", "test", "mail")
    (tmp_path / "dealthread.toml").write_text(f'[alerts.channels.chat]\nurl = "json://{SECRET}"\n')
    stated = desk.refused("alerts", "test", "chat")
    assert "DEALTHREAD_ALERTS__CHANNELS__CHAT__URL" in stated
    assert SECRET not in stated


def test_silence_and_list(desk: Cli) -> None:
    why = ("--because", "we move the database")
    told = desk.run("alerts", "silence", "work_overdue", "--for", "4h", *why, "--as", "olivia")
    assert (told.code, told.out[:29]) == (0, "silenced  work_overdue until ")
    for words, refusal in (
        (("late", "--for", "4h", *why, "--as", "olivia"), "There is no rule 'late'"),
        (("work_overdue", "--for", "4y", *why, "--as", "olivia"), "write 30m, 4h or 2d"),
        (("work_overdue", "--for", "90d", *why, "--as", "olivia"), "30 days at most"),
        (("work_overdue", "--for", "4h", *why, "--as", "vera"), "has not the role"),
        (("work_overdue", "--for", "4h", "--because", " ", "--as", "olivia"), "needs a reason"),
        (
            ("work_overdue", "--entity", "XX", "--for", "4h", *why, "--as", "olivia"),
            "There is no legal entity 'XX'",
        ),
    ):
        assert refusal in desk.refused("alerts", "silence", *words)

    listed: Any = clean(desk.run("alerts", "list", "--json")).data
    assert listed["alerts"] == []
    assert {each["channel"] for each in listed["channels"]} == {"mail", "wrong"}
    assert "work_overdue" in listed["rules"]
    shown = clean(desk.run("alerts", "list", "--all")).out
    assert "No alert is up." in shown
    assert "work_overdue" in shown
    assert "never" in shown
