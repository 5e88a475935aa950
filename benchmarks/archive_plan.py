"""Simulates an archive of ten million pages on clusters of several sizes, from measured figures.

``python -m benchmarks.archive_plan docs/archive-scale.json --out docs/archive-plan.md``. What was
measured: processor time a page and its spread, client and scheduler time a task, bytes a page and
a row. What is assumed is an option with a default, and is printed with the table.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path
from random import Random
from typing import Any, Final

from runtime.cli import positive, run_command
from runtime.errors import ExitCode, NoInputError

__all__ = ["Outcome", "Scenario", "main", "simulate", "to_markdown"]

_CORES: Final = (16, 64, 256, 1024)
_BATCHES: Final = (64, 512)
_SEED: Final = 8


@dataclass(frozen=True, slots=True)
class Scenario:
    """A cluster and its work."""

    pages: int
    cores: int
    batch: int
    page_s: float
    """Processor seconds a page, mean."""
    page_sd_s: float
    """Standard deviation of the same."""
    task_s: float
    """Seconds that client and scheduler, together one core, need for a task ..."""
    file_s: float
    """... and for each file of it."""
    page_bytes: float
    row_bytes: float
    store_s: float = 0.05
    """Seconds until a store answers a request."""
    network_gbit: float = 10.0
    """What the store delivers to the whole cluster, Gbit/s."""
    failure_h: float = 500.0
    """Hours between two deaths of a worker, mean (spot instances, memory, disks)."""
    restart_s: float = 30.0
    """Seconds until a dead worker is replaced."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulated run took."""

    seconds: float
    busy: float
    """Share of the cores' time spent on batches that counted."""
    scheduler: float
    """Share of the time in which client and scheduler were at work."""
    lost: int
    """Batches that a death cut off and another worker answered."""
    tasks: int
    gbit: float
    """Mean traffic from the store, Gbit/s."""


def simulate(scenario: Scenario, seed: int = _SEED) -> Outcome:
    """Play a run through, batch by batch.

    A free worker waits for the scheduler, which serves one at a time; then it computes while it
    reads ahead, or waits for the network where that is slower; then it writes. A worker may die,
    whereupon its batch is handed out again. The scheduler's time is not hidden behind a queue at
    the worker, as it is in truth, so the outcome errs on the slow side.
    """
    s, random = scenario, Random(seed)
    todo = _batches(s)
    again: list[int] = []
    free = [(0.0, worker) for worker in range(s.cores)]
    scheduler, served, useful, lost, tasks, end = 0.0, 0.0, 0.0, 0, 0, 0.0
    while (size := again.pop() if again else next(todo, 0)) > 0:
        at, worker = heapq.heappop(free)
        service = s.task_s + size * s.file_s
        start = max(at, scheduler) + service
        scheduler, served, tasks = start, served + service, tasks + 1
        seconds = _batch_seconds(s, size, random)
        if random.random() < 1 - exp(-seconds / (s.failure_h * 3600)):
            lost += 1
            again.append(size)
            heapq.heappush(free, (start + random.random() * seconds + s.restart_s, worker))
            continue
        useful += seconds
        end = max(end, start + seconds)
        heapq.heappush(free, (start + seconds, worker))
    return Outcome(
        seconds=end,
        busy=useful / (end * s.cores),
        scheduler=served / end,
        lost=lost,
        tasks=tasks,
        gbit=8e-9 * s.pages * s.page_bytes / end,
    )


def _batches(s: Scenario) -> Iterator[int]:
    for _ in range(s.pages // s.batch):
        yield s.batch
    if rest := s.pages % s.batch:
        yield rest


def _batch_seconds(s: Scenario, size: int, random: Random) -> float:
    # The sum of many pages is near normal, whatever one page's distribution.
    compute = max(0.0, random.gauss(size * s.page_s, size**0.5 * s.page_sd_s))
    share = s.network_gbit * 1e9 / 8 / s.cores
    return 2 * s.store_s + max(compute, size * s.page_bytes / share)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the plan and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.archive_plan", description=__doc__)
    parser.add_argument("measured", type=Path, metavar="FILE.json", help="of benchmarks.archive")
    parser.add_argument("--pages", type=positive, default=10_000_000, metavar="N")
    parser.add_argument("--network-gbit", type=float, default=10.0, metavar="X")
    parser.add_argument("--failure-hours", type=float, default=500.0, metavar="X")
    parser.add_argument("--core-hour", type=float, default=0.04, metavar="USD")
    parser.add_argument("--gb-month", type=float, default=0.023, metavar="USD")
    parser.add_argument("--million-gets", type=float, default=0.40, metavar="USD")
    parser.add_argument("--million-puts", type=float, default=5.00, metavar="USD")
    parser.add_argument("--out", type=Path, metavar="FILE.md")
    parser.add_argument("-v", "--verbose", action="store_true", help="tracebacks")
    args = parser.parse_args(arguments)
    return run_command(lambda: _run(args), verbose=args.verbose)


def _run(args: argparse.Namespace) -> int:
    from runtime.outputs import atomic_text

    try:
        measured = json.loads(args.measured.read_text())
    except (OSError, ValueError) as fault:
        raise NoInputError(
            f"{args.measured}: not readable ({fault})", "measure: python -m benchmarks.archive"
        ) from fault
    text = to_markdown(measured, args)
    print(text)
    if args.out:
        with atomic_text(args.out) as file:
            file.write(text)
    return ExitCode.OK


def scenario_of(measured: Mapping[str, Any], args: argparse.Namespace) -> Scenario:
    """Return the scenario that the measured figures give, on one core.

    Full-size pages are planned with where they were measured; their spread is taken to be that of
    the pool, in proportion.
    """
    many = measured["workers"]
    pool_s = many["worker_cpu_seconds"] / many["pages"]
    large = measured.get("large")
    page_s = pool_s
    if large:
        alone = measured["cpu_seconds_a_page"]["one_process"]
        page_s = pool_s * (large["cpu_seconds"] / large["pages"]) / alone
    spread = many["page_ms"]["sd"] / many["page_ms"]["mean"]
    return Scenario(
        pages=args.pages,
        cores=1,
        batch=many["batch"],
        page_s=page_s,
        page_sd_s=spread * page_s,
        task_s=measured["client_cost"]["seconds_a_task"],
        file_s=measured["client_cost"]["seconds_a_file"],
        page_bytes=(large or measured["pool"])["mean_bytes"],
        row_bytes=many["bytes_a_row"],
        network_gbit=args.network_gbit,
        failure_h=args.failure_hours,
    )


def to_markdown(measured: Mapping[str, Any], args: argparse.Namespace) -> str:
    """Return the plan as a page of documentation."""
    base = scenario_of(measured, args)
    machine = measured["machine"]
    core_hours = base.pages * base.page_s / 3600
    lines = [
        f"# {base.pages:,} pages on paper",
        "",
        "Written by `python -m benchmarks.archive_plan`; seed "
        f"{_SEED}. Measured on {machine['cpu']} ({machine['cores']} cores, see archive-scale.md): "
        f"{1e3 * base.page_s:.1f} processor ms a page (sd {1e3 * base.page_sd_s:.1f}), "
        f"{1e3 * base.task_s:.1f} ms of client and scheduler a task and "
        f"{1e6 * base.file_s:.0f} us a file, "
        f"{base.page_bytes / 1e6:.2f} MB a page, {base.row_bytes:.0f} bytes a row. Assumed: "
        f"{base.network_gbit:g} Gbit/s from the store to the cluster, {1e3 * base.store_s:.0f} ms "
        f"until it answers, a worker's death every {base.failure_h:g} hours, "
        f"{base.restart_s:g} s to replace it; prices below.",
        "",
        "| cores | files a task | tasks | hours | cores with a batch in hand "
        "| client and scheduler busy | batches cut off | from the store, Gbit/s | core hours "
        "| USD |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_row(replace(base, cores=c, batch=b), args) for c in _CORES for b in _BATCHES),
        "",
        f"- Computing alone: {core_hours:,.0f} core hours "
        f"({3600 / (3600 * base.page_s):.1f} pages a core second).",
        f"- Storage: {base.pages * base.page_bytes / 1e12:.1f} TB of pages are read once and stay "
        f"where they are; the answers are {base.pages * base.row_bytes / 1e9:.1f} GB "
        f"({args.gb_month * base.pages * base.row_bytes / 1e9:.2f} USD a month).",
        f"- Requests: one GET a page ({args.million_gets * base.pages / 1e6:.2f} USD), one PUT a "
        f"task ({args.million_puts * base.pages / _BATCHES[0] / 1e6:.2f} USD at "
        f"{_BATCHES[0]} files a task); listing {base.pages / 1000:,.0f} pages of 1,000 names.",
        f"- The client's index of what is held: {base.pages * 29 / 1e6:.0f} MB on a resume "
        "(29 bytes a page).",
        f"- Prices assumed: {args.core_hour} USD a core hour, {args.gb_month} a GB and month, "
        f"{args.million_gets} a million GETs, {args.million_puts} a million PUTs; traffic inside "
        "one region free.",
        "",
        _check(measured),
    ]
    return "\n".join(lines) + "\n"


def _row(scenario: Scenario, args: argparse.Namespace) -> str:
    found = simulate(scenario)
    hours = scenario.cores * found.seconds / 3600
    return (
        f"| {scenario.cores} | {scenario.batch} | {found.tasks:,} | {found.seconds / 3600:.1f} "
        f"| {found.busy:.1%} | {found.scheduler:.1%} | {found.lost} | {found.gbit:.2f} "
        f"| {hours:,.0f} | {hours * args.core_hour:,.2f} |"
    )


def _check(measured: Mapping[str, Any]) -> str:
    """Return how the simulation does on the run that was measured, times by the clock."""
    many = measured["workers"]
    page = many["page_ms"]
    found = simulate(
        Scenario(
            pages=many["pages"],
            cores=many["workers"],
            batch=many["batch"],
            page_s=page["mean"] / 1e3,
            page_sd_s=page["sd"] / 1e3,
            task_s=measured["client_cost"]["seconds_a_task"],
            file_s=measured["client_cost"]["seconds_a_file"],
            page_bytes=measured["pool"]["mean_bytes"],
            row_bytes=many["bytes_a_row"],
            store_s=0.0,
            network_gbit=1e3,
            failure_h=1e9,
        )
    )
    off = found.seconds / many["seconds"] - 1
    return (
        f"Check of the simulation: the measured run ({many['pages']} pages, {many['workers']} "
        f"workers, {many['seconds']:.0f} s) comes out at {found.seconds:.0f} s, {off:+.1%}."
    )


if __name__ == "__main__":
    sys.exit(main())
