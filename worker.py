"""Runs Dealthread's Temporal workers: `python worker.py --config dealthread.toml`."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, TypeVar

import structlog
import typer
import uvloop
from temporalio.client import Client

from adapters.registry import SettingsInvalid
from operations.budgets import shares_of_budgets
from operations.composition import House, build_house
from operations.config import Config, ConfigInvalid, find_config, load_config
from operations.health import serving_health
from operations.logs import configure_logs
from operations.servers import Unreachable, awaited, check_store, connect_temporal
from operations.telemetry import Telemetry, start_telemetry
from operations.tracing import tracing
from operations.workers import prepare_namespace, running_workers
from policies.bundle import BundleInvalid
from store.errors import StoreError

T = TypeVar("T")

GC_THRESHOLDS = (50_000, 20, 20)
"""A run of 500 entries makes tens of thousands of objects and drops them together, without cycles:
looking through them after every 700 is a good part of the processor time."""

_log = structlog.get_logger("dealthread.worker")


async def serve(config: Config, telemetry: Telemetry) -> None:
    """Serve until SIGTERM or SIGINT; then stop polling and finish the writes under way."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    house = build_house(config)
    try:
        client = await _unless(stop, _reached(config, house, telemetry))
        if client is None:
            return
        url = telemetry.sdk_metrics_url
        async with (
            shares_of_budgets(config, house.store.budgets, house.governors) as shares,
            serving_health(config, house, client, shares, url),
            running_workers(client, config, house, shares),
        ):
            _log.info("serving", connections=sorted(config.connections), health=_health(config))
            await stop.wait()
            _log.info("stopping", grace_seconds=config.worker.grace_seconds)
        _log.info("stopped")
    finally:
        await house.aclose()


async def _reached(config: Config, house: House, telemetry: Telemetry) -> Client:
    """Return a client once both servers answer and the namespace is prepared."""
    seconds = config.worker.start_seconds
    await awaited(lambda: check_store(house.store, config), seconds)
    client = await awaited(lambda: connect_temporal(config, telemetry.runtime), seconds)
    await prepare_namespace(client, config)
    return client


async def _unless(stop: asyncio.Event, work: Coroutine[None, None, T]) -> T | None:
    """Return the result of `work`, or None if the stop came first."""
    working, asked = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if working.done():
        return working.result()
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    return None


def _health(config: Config) -> str:
    return f"http://{config.worker.health_host}:{config.worker.health_port}/healthz"


def main(
    config: Annotated[Path | None, typer.Option(help="Path of dealthread.toml.")] = None,
) -> None:
    """Run the workers that dealthread.toml describes, until SIGTERM or Ctrl-C.

    Example: worker.py --config dealthread.toml
    """
    configure_logs()
    code = 0
    try:
        loaded = load_config(find_config(config))
        telemetry = start_telemetry()
        gc.collect()
        gc.freeze()  # what is there by now stays
        gc.set_threshold(*GC_THRESHOLDS)
        with (
            tracing(loaded, "worker"),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(serve(loaded, telemetry))
    except (ConfigInvalid, SettingsInvalid, BundleInvalid, Unreachable, StoreError) as error:
        sys.stderr.write(f"{error}\n")
        code = 1
    except Exception:
        _log.exception("worker_failed")
        code = 1
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    # A process that ran a worker may abort in the interpreter's own exit (SDK 1.35).
    os._exit(code)


if __name__ == "__main__":
    typer.run(main)
