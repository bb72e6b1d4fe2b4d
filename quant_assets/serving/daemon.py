"""The Dagster daemon of a UI: ``dagster-daemon``, ended with the process that started it."""

from __future__ import annotations

import multiprocessing

from quant_assets.serving.ending import ended_with_parent


def main() -> None:
    with ended_with_parent():
        from dagster._daemon.cli import cli

        try:
            cli(obj={}, standalone_mode=False)  # it prints nothing when interrupted
        finally:
            _end_runs()


def _end_runs() -> None:
    """Interrupt the runs under way, so that they note their end."""
    runs = multiprocessing.active_children()
    for run in runs:
        run.terminate()
    for run in runs:
        run.join()


if __name__ == "__main__":
    main()
