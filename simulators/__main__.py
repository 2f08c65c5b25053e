"""`python -m simulators`: every simulator in one process until SIGTERM or SIGINT.

Prints its addresses as JSON.
"""

import argparse
import asyncio
import json
import logging
import signal
import ssl
import sys
from collections.abc import Coroutine
from pathlib import Path

from simulators.kit.stack import SimulatorStack
from simulators.registry import VENDOR_PACKAGES, load_vendors


def main() -> None:
    """Parse the command line and serve."""
    options = _parser().parse_args()
    if (options.tls_cert is None) != (options.tls_key is None):
        _parser().error("--tls-cert and --tls-key go together")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    _run(_serve(options))


def _run(work: Coroutine[None, None, None]) -> None:
    try:
        import uvloop
    except ImportError:  # it does not exist on Windows; the standard loop is only slower
        asyncio.run(work)
    else:
        uvloop.run(work)


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stack = SimulatorStack(
        vendors=load_vendors(),
        host=options.host,
        control_port=options.control_port,
        ports=dict(options.port),
        tls=_tls(options.tls_cert, options.tls_key),
        state_file=options.state_file,
    )
    async with stack:
        sys.stdout.write(json.dumps({"control": stack.control_url, **stack.urls}) + "\n")
        sys.stdout.flush()
        await stop.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulators", description=__doc__)
    parser.add_argument("--control-port", type=int, default=0, help="0 takes a free port")
    parser.add_argument(
        "--port",
        type=_vendor_port,
        action="append",
        default=[],
        metavar="VENDOR=PORT",
        help=f"port of one vendor ({', '.join(VENDOR_PACKAGES)}); others take a free one",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--tls-cert", type=Path, help="PEM; the vendors speak https then")
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--state-file", type=Path, help="JSON, read at start, written at stop")
    return parser


def _vendor_port(text: str) -> tuple[str, int]:
    name, _, port = text.partition("=")
    if name not in VENDOR_PACKAGES or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not VENDOR=PORT with a known vendor")
    return name, int(port)


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


if __name__ == "__main__":
    main()
