"""The command line in process: what it prints, where, and with which exit code."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import structlog
from pydantic import JsonValue
from typer.testing import CliRunner

from embedded.stack import StackInfo
from starter import app
from tests.support.commands import command
from tests.support.embedded_stack import running_stack
from tests.support.world import PEOPLE, World


@dataclass
class Ran:
    """A command that was run."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> JsonValue:
        parsed: JsonValue = json.loads(self.out)
        return parsed


class Cli:
    """Runs commands with one configuration."""

    def __init__(self, config: Path | None = None) -> None:
        self.config = config

    def run(self, *words: str, env: dict[str, str] | None = None) -> Ran:
        variables = {"DEALTHREAD_CONFIG": str(self.config)} if self.config else {}
        logging = structlog.get_config()
        try:
            result = CliRunner().invoke(app, list(words), env=variables | (env or {}))
        finally:
            structlog.configure(**logging)
        assert "Traceback" not in result.output
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    def refused(self, *words: str, env: dict[str, str] | None = None) -> str:
        """Run a command that has to fail with one sentence; return it."""
        ran = self.run(*words, env=env)
        assert ran.code == 1, ran
        assert ran.out == ""
        assert ran.err.endswith(".\n"), ran.err
        return ran.err


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Commands in an empty folder, without a configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEALTHREAD_CONFIG", raising=False)
    return Cli()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackInfo]:
    """A whole running stack with the standard deals, shared by the tests of one process."""
    with running_stack(tmp_path_factory.mktemp("cli") / "stack") as info:
        yield info


@pytest.fixture
def desk(stack: StackInfo) -> Cli:
    """Commands on the running stack."""
    return Cli(stack.config)


async def starter(environment: dict[str, str], *words: str) -> Ran:
    """Run a command as a process of its own, beside a world that goes on."""
    return Ran(*await command(environment, *words))


@pytest_asyncio.fixture(scope="module")
async def environment(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A configuration that finds the world's servers and people; of the PSAs it knows none."""
    config = tmp_path_factory.mktemp("firm") / "dealthread.toml"
    secrets = config.with_name("secrets")
    secrets.mkdir()
    (secrets / "client_secret").write_text("of nobody")
    people = "".join(
        f'[people.{name}]\nroles = {json.dumps(sorted(roles))}\nemail = "{name}@example.com"\n'
        for name, roles in PEOPLE.items()
    )
    config.write_text(
        f'[temporal]\naddress = "{world.env.client.service_client.config.target_host}"\n'
        "[connections.salesforce]\n"
        'vendor = "salesforce"\nrole = "crm"\nbase_url = "http://127.0.0.1:9"\n'
        f'secrets_dir = "{secrets}"\n'
        '[connections.salesforce.settings.auth]\nkind = "client_credentials"\nclient_id = "x"\n'
        f"{people}"
    )
    url = world.store.database.engine.url.set(drivername="postgresql")
    return {
        "DEALTHREAD_CONFIG": str(config),
        "DEALTHREAD_STORE__URL": url.render_as_string(hide_password=False),
    }
