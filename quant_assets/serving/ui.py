"""The Dagster UI over a data folder, from its start to its end; what runs in it is ``services``.

One UI with a daemon at a time: a lock says who has the folder, and a listening socket who has the
port. Both are dropped by the operating system however their process ends.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from quant_assets.reference.errors import BrokenError, UsageError
from quant_assets.serving.services import Services
from quant_assets.warehouse.writer_lock import WarehouseBusyError, WriterLock

COMMAND_LETTERS = 120
"""So much of another program's command is shown."""

STOPS_WITHIN_SECONDS = 5
"""How long the services may take to stop before they are killed."""


class FolderServedError(BrokenError, OSError):
    """Another UI has a daemon over the data folder."""

    def __init__(self, home: Path, holder: str) -> None:
        super().__init__(
            f"The data folder {home} is served already by {holder}, and two daemons would do all "
            "work twice. Open that one, or stop it; ui --read-only with another --port shows the "
            "same pages without a daemon."
        )


class PortTakenError(BrokenError, OSError):
    """Another program listens on the port."""

    def __init__(self, host: str, port: int, holder: str) -> None:
        super().__init__(
            f"Port {port} of {host} is taken by {holder}. Choose another one with --port, or stop "
            "that process."
        )


class AddressError(UsageError, ValueError):
    """An address that this machine can't listen on."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(
            f"Nothing can listen on port {port} of {host}: {why}. Give --host an address of this "
            "machine, such as 127.0.0.1, and --port one of 1024 to 65535."
        )


class ServicesEndedError(BrokenError, RuntimeError):
    """The services ended though nobody stopped them."""

    def __init__(self, code: int) -> None:
        super().__init__(
            f"The UI has ended by itself, with code {code}; the lines above say why. Nothing of it "
            "is left running, and what was stored stays."
        )


@contextmanager
def serving(
    home: Path,
    host: str,
    port: int,
    config: Path | None,
    environment: Mapping[str, str],
    *,
    allowed_hosts: Sequence[str] = (),
    read_only: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """The UI over the data folder ``home``, as the process of its services; leaving it stops them.

    They read the settings again, from ``config`` if that is given and from ``environment``. With
    ``read_only`` nothing can be changed and nothing runs by itself. Raises FolderServedError,
    PortTakenError, AddressError, TooLongAPathError; OSError where the folder can't be written.
    """
    from quant_assets.orchestration.instance.instance import prepare

    folder = prepare(home)
    variables = {
        **environment,
        "DAGSTER_HOME": str(folder),
        "DAGSTER_IS_DEV_CLI": "1",
        "QUANT_ASSETS_HOME": str(home),
        **({"QUANT_ASSETS_CONFIG": str(config.absolute())} if config else {}),
    }
    with ExitStack() as stack:
        _heed_signals(stack)
        if not read_only:
            _become_the_only_one(stack, home, f"http://{host}:{port}")
        with _listening(host, port) as listener:
            services = Services(str(home), host, listener.fileno(), allowed_hosts, read_only)
            process = services.start(variables)
        stack.callback(_stop, process)
        yield process


def wait(process: subprocess.Popen[bytes]) -> None:
    """Return once this process is to stop, by SIGINT or SIGTERM. Raises ServicesEndedError."""
    with suppress(KeyboardInterrupt):
        raise ServicesEndedError(process.wait())


def _heed_signals(stack: ExitStack) -> None:
    """Let SIGINT and SIGTERM interrupt, even where they are ignored: a script without job control
    has its background commands begin so, and all that they start.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        stack.callback(signal.signal, number, signal.signal(number, signal.default_int_handler))


def _become_the_only_one(stack: ExitStack, home: Path, purpose: str) -> None:
    try:
        stack.enter_context(WriterLock(home / "ui.lock").held(0, purpose))
    except WarehouseBusyError as error:
        raise FolderServedError(home, error.holder) from error


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens on an address, from before anything is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(host, port, _listener_of(port)) from error
        raise AddressError(host, port, error.strerror or str(error)) from error


def _listener_of(port: int) -> str:
    """The process that listens on a port, in words; psutil knows it, where it is installed."""
    try:
        import psutil
    except ImportError:
        return "another program"
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                since = dt.datetime.fromtimestamp(process.create_time(), dt.UTC)
                command = " ".join(process.cmdline())[:COMMAND_LETTERS]
                return f"process {process.pid} ({command}, since {since:%Y-%m-%dT%H:%M:%S+00:00})"
    return "another program"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the services, and kill what is left of their process group after a while.

    A second interrupt kills at once.
    """
    with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        if process.stdin:
            process.stdin.close()
        process.wait(STOPS_WITHIN_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
