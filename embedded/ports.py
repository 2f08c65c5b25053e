"""Every port of a stack, counted from one base, so that `--port-base` moves them all.

| offset | what |
| --- | --- |
| +0 | Temporal, gRPC |
| +1 | Temporal, HTTP API |
| +2 | Temporal, metrics |
| +3 | PostgreSQL |
| +4 | simulators, control origin |
| +5, +6, +7 | simulators: Salesforce, Kantata, NetSuite |
| +8 | worker, health and metrics |
| +9 | simulator: Workday |
| +10 | simulator: Stripe |
| +11 | gateway: events in |
| +12 | gateway: health and metrics of its drain |
| +1000 | Temporal Web UI |

Two stacks side by side need bases that are 20 or more apart, but not 1000.
"""

import errno
import socket
from typing import Final, Self

import psutil
from pydantic import BaseModel, ConfigDict

from embedded.errors import StackError

HOST: Final = "127.0.0.1"
PORT_BASE: Final = 7233
PORT_BASE_MIN: Final = 1024
UI_OFFSET: Final = 1000
GATEWAY_OFFSET: Final = 11
PORT_BASE_MAX: Final = 65535 - UI_OFFSET
VENDOR_OFFSETS: Final = {"salesforce": 5, "kantata": 6, "netsuite": 7, "workday": 9, "stripe": 10}


class Ports(BaseModel):
    """The ports of one stack, all on 127.0.0.1."""

    model_config = ConfigDict(frozen=True)

    temporal: int
    temporal_http: int
    temporal_metrics: int
    postgres: int
    simulators: int
    vendors: dict[str, int]
    worker: int
    gateway: int
    drain: int
    temporal_ui: int

    @classmethod
    def from_base(cls, base: int) -> Self:
        """Return the ports of a stack with this base.

        Raises:
            StackError: the base leaves no room for them.
        """
        if not PORT_BASE_MIN <= base <= PORT_BASE_MAX:
            raise StackError(
                f"--port-base {base} leaves no room: "
                f"it must lie between {PORT_BASE_MIN} and {PORT_BASE_MAX}."
            )
        return cls(
            temporal=base,
            temporal_http=base + 1,
            temporal_metrics=base + 2,
            postgres=base + 3,
            simulators=base + 4,
            vendors={vendor: base + offset for vendor, offset in VENDOR_OFFSETS.items()},
            worker=base + 8,
            gateway=base + GATEWAY_OFFSET,
            drain=base + GATEWAY_OFFSET + 1,
            temporal_ui=base + UI_OFFSET,
        )

    def of(self, child: str) -> dict[str, int]:
        """Return the ports that one part listens on, by what they are."""
        return {
            "postgres": {"PostgreSQL": self.postgres},
            "temporal": {
                "Temporal": self.temporal,
                "Temporal's HTTP API": self.temporal_http,
                "Temporal's metrics": self.temporal_metrics,
                "Temporal's Web UI": self.temporal_ui,
            },
            "simulators": {
                "the simulators' control origin": self.simulators,
                **{f"the {vendor} simulator": port for vendor, port in self.vendors.items()},
            },
            "worker": {"the worker's health page": self.worker},
            "gateway": {
                "the gateway": self.gateway,
                "the health page of the gateway's drain": self.drain,
            },
        }[child]


def check_free(ports: dict[str, int]) -> None:
    """Make sure that nothing listens on these ports of 127.0.0.1.

    Raises:
        StackError: something does; the sentence names the port, what it is for and who has it.
    """
    for use, port in ports.items():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As servers do: connections of an earlier run that linger are no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                probe.listen(1)
            except OSError as error:
                reason = (
                    f"is in use{_holder(port)}"
                    if error.errno == errno.EADDRINUSE
                    else f"can't be opened ({error.strerror})"
                )
                raise StackError(
                    f"Port {port}, wanted for {use}, {reason}: "
                    "free it, or choose other ports with --port-base."
                ) from None


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            # (address, port); psutil gives an empty tuple where a socket has none.
            if listens and connection.laddr[1:] == (port,) and connection.pid:
                name = psutil.Process(connection.pid).name()
                return f" by {name} (pid {connection.pid})"
    except psutil.Error:  # whose it is, is not ours to see
        return ""
    return ""
