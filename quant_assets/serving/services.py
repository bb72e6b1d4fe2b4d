"""What runs behind ``quant-assets ui``: the guarded webserver, the code server and the daemon.

A process of its own, leader of the group of all that it starts, so that ``ui`` can end the whole of
it. It does what ``dagster dev`` does, which can't put anything in front of its webserver.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from quant_assets.serving.ending import ended_with_parent

POLL_MILLISECONDS = 2_000
"""How often an open page asks for news, as with ``dagster dev``."""

UNDER_WAY_SECONDS = 2
"""How long answers under way may take to end when the server stops."""


@dataclass(frozen=True)
class Services:
    """A UI over the data folder ``home``, on the bound socket ``listener`` of address ``host``.

    One that is ``read_only`` has no daemon.
    """

    home: str
    host: str
    listener: int
    allowed_hosts: Sequence[str]
    read_only: bool

    def start(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """The process of all services; it ends with its standard input."""
        return subprocess.Popen(  # noqa: S603 - our own interpreter
            _python("services", json.dumps(asdict(self))),
            env=environment,
            stdin=subprocess.PIPE,
            pass_fds=(self.listener,),
            start_new_session=True,
        )

    def run(self) -> None:
        """Serve until this process is interrupted."""
        import uvicorn
        from dagster._cli.proxy_server_manager import ProxyServerManager
        from dagster._core.workspace.context import WorkspaceProcessContext
        from dagster._core.workspace.load_target import ModuleTarget, WorkspaceFileTarget
        from dagster._serdes import serialize_value
        from dagster_webserver.app import create_app_from_workspace_process_context
        from dagster_webserver.version import __version__

        from quant_assets.orchestration.instance.instance import LOCATION, MODULE, open_instance
        from quant_assets.serving.guard import Guard

        with ExitStack() as stack:
            instance = stack.enter_context(open_instance(Path(self.home)))
            instance.optimize_for_webserver(15_000, 3_600, 20)
            code = ModuleTarget(MODULE, None, None, LOCATION)
            servers = stack.enter_context(ProxyServerManager(instance, code, "warning"))
            workspace = Path(stack.enter_context(TemporaryDirectory()), "workspace.yaml")
            workspace.write_text(json.dumps({"load_from": servers.get_code_server_specs()}))
            if not self.read_only:
                reference = serialize_value(instance.get_ref())
                stack.enter_context(_daemon(reference, workspace))
            context = WorkspaceProcessContext(
                instance,
                workspace_load_target=WorkspaceFileTarget([str(workspace)]),
                version=__version__,
                read_only=self.read_only,
            )
            app = create_app_from_workspace_process_context(
                stack.enter_context(context), live_data_poll_rate=POLL_MILLISECONDS
            )
            config = uvicorn.Config(
                Guard.on(app, self.host, self.allowed_hosts),
                log_level="warning",
                lifespan="off",
                timeout_graceful_shutdown=UNDER_WAY_SECONDS,
            )
            uvicorn.Server(config).run(sockets=[socket.socket(fileno=self.listener)])


@contextmanager
def _daemon(reference: str, workspace: Path) -> Iterator[None]:
    """Dagster's daemon under way, on the instance of ``reference``; this process ends with it."""
    files = ("--instance-ref", reference, "--workspace", str(workspace))
    command = _python("daemon", "run", *files)
    with subprocess.Popen(command, stdin=subprocess.PIPE) as daemon:  # noqa: S603 - as above
        stopping = threading.Event()

        def end_with_daemon() -> None:
            code = daemon.wait()
            if not stopping.is_set():
                logging.getLogger("dagster").error("The daemon ended by itself, with code %s", code)
                os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=end_with_daemon, daemon=True).start()
        try:
            yield
        finally:
            stopping.set()
            if daemon.stdin:
                daemon.stdin.close()
            daemon.wait()  # Popen itself does not wait after an interrupt


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", f"quant_assets.serving.{module}", *arguments]


def main() -> None:
    with ended_with_parent():
        from dagster._utils.log import configure_loggers

        configure_loggers()
        try:
            Services(**json.loads(sys.argv[1])).run()
        except KeyboardInterrupt:
            sys.exit(1)  # not by the parent, so the daemon has ended


if __name__ == "__main__":
    main()
