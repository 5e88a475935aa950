"""Joins an existing Dask cluster, or starts one of this computer's cores."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import resource_tracker
from typing import Any, Final

import dask
from distributed import Client, LocalCluster

from runtime.errors import UsageError

__all__ = ["dashboard_line", "open_client"]

_CONNECT_S: Final = 30
"""Seconds to wait for a named scheduler."""
_DASHBOARD: Final = "127.0.0.1:8787"
"""Dask's usual port, on this computer only; another port is taken where it is in use."""
_LOCAL: Final = {
    # A batch is given to a second and third worker before its pages are answered one by one.
    "distributed.scheduler.allowed-failures": 2,
    # Dask gives memory back to the system at every 64 kB, and a page's pictures of some MB are
    # then faulted in afresh: 10 to 12 ms of 36 a page, measured. This costs 2 MB a worker.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 256 * 1024**2,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 32 * 1024**2,
}


@contextmanager
def open_client(scheduler: str | None, workers: int | None = None) -> Iterator[Client]:
    """Connect to a cluster, and leave it (or end it, where it is ours) at the end.

    Parameters
    ----------
    scheduler : str or None
        Address (``tcp://host:8786``, ``tls://...``) or a scheduler file; None starts a local
        cluster.
    workers : int or None
        Worker processes of a local cluster; one a core by default.

    Raises
    ------
    UsageError
        If there is no scheduler at the address or in the file.
    """
    # What goes wrong is told in our own words; dask sets a level on each of its loggers.
    for name in [
        name for name in logging.root.manager.loggerDict if name.startswith("distributed")
    ]:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler is None:
        with _local_cluster(workers) as cluster, Client(cluster, set_as_default=False) as client:
            yield client
        return
    try:
        if "://" in scheduler:
            client = Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
        else:
            if not os.path.isfile(scheduler):
                raise UsageError(
                    f"{scheduler}: neither an address nor a scheduler file",
                    "name tcp://HOST:PORT, or the file that dask scheduler --scheduler-file writes",
                )
            client = Client(scheduler_file=scheduler, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as fault:
        raise UsageError(
            f"no scheduler at {scheduler} ({fault})", "start one: dask scheduler"
        ) from fault
    with client:
        yield client


@contextmanager
def _local_cluster(workers: int | None) -> Iterator[Any]:
    """Start worker processes; a nanny each replaces the ones that die."""
    with dask.config.set(_LOCAL), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        with _interrupts_blocked():
            cluster = LocalCluster(
                n_workers=workers or len(os.sched_getaffinity(0)),
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address=_DASHBOARD,
                silence_logs=logging.CRITICAL,
            )
        with cluster:
            yield cluster


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Keep Ctrl-C from whatever is started in here: it is for us, who then end the workers.

    A terminal sends it to every process in the foreground. Threads and processes inherit the
    block, so the workers that a nanny starts later have it as well.
    """
    resource_tracker.ensure_running()  # were it started within, it would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def dashboard_line(client: Client) -> str:
    """Return where to watch the run."""
    link = str(client.dashboard_link)
    if find_spec("bokeh") is None:
        page = link.removesuffix("/status") + "/info/main/workers.html"
        return f"dashboard: {page} (its plots, {link}, need: pip install bokeh)"
    return f"dashboard: {link}"
