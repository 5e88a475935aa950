"""Measures the archive: pages a second on worker processes against one, overhead, memory.

``python -m benchmarks.archive POOL --pages 20000`` gives the pool's pages 20,000 names, answers
them on two local worker processes, and a share of them in one process before and after. Other
work on the machine is measured beside, since it spoils times and not processor seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from time import perf_counter
from typing import Any, Final

from runtime.cli import positive, run_command
from runtime.errors import ExitCode, NoInputError

__all__ = [
    "Samples",
    "compare_records",
    "main",
    "measure",
    "measure_large",
    "name_pages",
    "to_markdown",
]

SCHEMA: Final = "ecg-edge/archive-benchmark/1"
_SAMPLE_S: Final = 2.0
"""Seconds between two looks at the processes' memory."""
_COST_BATCHES: Final = (32, 512)
_COST_TASKS: Final = 60
_LARGE_PAGES: Final = 300
_A_FOLDER: Final = 1000
"""Names in a folder: as a hospital would file them, by site and month."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.archive", description=__doc__)
    parser.add_argument("pool", type=Path, metavar="POOL", help="folder of pages, with subfolders")
    parser.add_argument("--large", type=Path, metavar="POOL", help="full-size pages, for the plan")
    parser.add_argument("--model", metavar="NAME|DIR", help="bundle")
    parser.add_argument("--pages", type=positive, default=20_000, metavar="N")
    parser.add_argument("--one", type=positive, default=3_000, metavar="N", help="in one process")
    parser.add_argument("--workers", type=positive, default=2, metavar="N")
    parser.add_argument("--batch", type=positive, default=64, metavar="N")
    parser.add_argument(
        "--out", type=Path, metavar="STEM", help="writes STEM.json and STEM.md (docs/archive-scale)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tracebacks")
    args = parser.parse_args(arguments)
    return run_command(lambda: _run(args), verbose=args.verbose)


def _run(args: argparse.Namespace) -> int:
    from runtime.outputs import atomic_text

    result = measure(args.pool, args.model, args.pages, args.one, args.workers, args.batch)
    if args.large:
        result["large"] = measure_large(args.large, args.model)
    text = to_markdown(result)
    print(text)
    if args.out:
        for suffix, content in ((".json", json.dumps(result, indent=2) + "\n"), (".md", text)):
            with atomic_text(args.out.with_suffix(suffix)) as file:
                file.write(content)
    return ExitCode.OK


def measure(
    pool: Path, model: str | None, pages: int, one: int, workers: int, batch: int
) -> dict[str, Any]:
    """Return the figures of a run; see `to_markdown` for what they say.

    Parameters
    ----------
    pool : Path
        Pages to repeat under other names.
    model : str or None
        Bundle.
    pages, one : int
        Pages on the workers, and in one process (half before, half after).
    workers : int
        Worker processes.
    batch : int
        Files a task.
    """
    from benchmarks.run import machine
    from runtime.bundle import load_bundle

    bundle = load_bundle(model)
    with tempfile.TemporaryDirectory(prefix="ecg-archive-") as scratch:
        folder = Path(scratch)
        originals = name_pages(pool, folder / "in", pages)
        first = _one_process(folder, bundle.directory, 0, one // 2)
        many = _on_workers(folder, bundle.directory, workers, batch)
        last = _one_process(folder, bundle.directory, one // 2, one - one // 2)
        compared = compare_records(
            _records(folder / "out"),
            [*_lines(folder / "one-0"), *_lines(folder / f"one-{one // 2}")],
        )
        many |= _stored(folder / "out")
    alone = {
        key: sum(part[key] for part in (first, last))
        for key in ("pages", "seconds", "cpu_seconds", "others_cpu_seconds")
    }
    return {
        "schema": SCHEMA,
        "machine": machine(),
        "bundle": {"name": bundle.name, "version": bundle.version, "sha256": bundle.model.sha256},
        "pool": originals,
        "one_process": {**alone, "halves": [first, last]},
        "workers": many,
        "compared": compared,
        "client_cost": _client_cost(bundle.directory, workers),
        **_ratios(alone, many, workers),
    }


def measure_large(pool: Path, model: str | None) -> dict[str, Any]:
    """Return what one full-size page costs in one process."""
    from runtime.bundle import load_bundle

    bundle = load_bundle(model)
    with tempfile.TemporaryDirectory(prefix="ecg-archive-") as scratch:
        folder = Path(scratch)
        originals = name_pages(pool, folder / "in", _LARGE_PAGES)
        return originals | _one_process(folder, bundle.directory, 0, _LARGE_PAGES)


def _ratios(alone: Mapping[str, Any], many: Mapping[str, Any], workers: int) -> dict[str, Any]:
    cores = os.cpu_count() or 1
    free = {}
    for name, part in (("one", alone), ("many", many)):
        free[name] = cores - part["others_cpu_seconds"] / part["seconds"]
    return {
        "speed_up": (many["pages"] / many["seconds"]) / (alone["pages"] / alone["seconds"]),
        "cpu_seconds_a_page": {
            "one_process": alone["cpu_seconds"] / alone["pages"],
            "workers": many["worker_cpu_seconds"] / many["pages"],
            "client_and_scheduler": many["client_cpu_seconds"] / many["pages"],
        },
        "overhead": {
            "workers_idle": 1 - many["busy_seconds"] / (workers * many["seconds"]),
            "client_and_scheduler_cpu": many["client_cpu_seconds"]
            / (many["client_cpu_seconds"] + many["worker_cpu_seconds"]),
        },
        "cores_left_by_others": free,
    }


def name_pages(pool: Path, folder: Path, pages: int) -> dict[str, Any]:
    """Give the pool's pages many names in a folder, and return what the pool is.

    Raises
    ------
    NoInputError
        If the pool holds no page.
    """
    from runtime.inputs import expand

    sources = [Path(item.source).resolve() for item in expand([str(pool)], recursive=True)]
    if not sources:
        raise NoInputError(f"{pool}: no page in it", "name a folder of pages")
    for i in range(pages):
        source = sources[i % len(sources)]
        target = folder / f"site-{i // _A_FOLDER:03}" / f"{i:06}{source.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
    sizes = [source.stat().st_size for source in sources]
    return {"pages": len(sources), "mean_bytes": sum(sizes) / len(sizes)}


def _one_process(folder: Path, model: str, start: int, pages: int) -> dict[str, Any]:
    """Answer some of the names with ``classify``, no scheduler anywhere."""
    import psutil

    names = sorted((folder / "in").rglob("*.*"))[start : start + pages]
    listing = folder / "names.txt"
    listing.write_text("".join(f"{name}\n" for name in names))
    words = ["classify", "--paths-from", str(listing), "--format", "jsonl", "--model", model]
    before, began = psutil.cpu_times(), perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "runtime", *words, "-o", str(folder / f"one-{start}")]
    )
    _, _, usage = os.wait4(child.pid, 0)
    seconds = perf_counter() - began
    own = usage.ru_utime + usage.ru_stime
    return {
        "pages": len(names),
        "seconds": seconds,
        "cpu_seconds": own,
        "others_cpu_seconds": _others(before, own),
        "peak_mb": usage.ru_maxrss * 1024 / 1e6,
    }


def _on_workers(folder: Path, model: str, workers: int, batch: int) -> dict[str, Any]:
    import psutil

    from runtime.archive.cluster import open_client
    from runtime.archive.model import pack
    from runtime.archive.schedule import score
    from runtime.archive.source import list_pages
    from runtime.bundle import load_bundle

    with open_client(None, workers) as client:
        pids = list(client.run(os.getpid).values())
        processes = {"client and scheduler": psutil.Process()}
        processes |= {f"worker {i + 1}": psutil.Process(pid) for i, pid in enumerate(pids)}
        cpu = {name: _cpu(process) for name, process in processes.items()}
        before, began = psutil.cpu_times(), perf_counter()
        with watched(processes) as samples:
            totals = score(
                list_pages(str(folder / "in")),
                str(folder / "out"),
                pack(load_bundle(model)),
                client,
                batch_files=batch,
            )
        seconds = perf_counter() - began
        used = {name: _cpu(process) - cpu[name] for name, process in processes.items()}
    client_used = used.pop("client and scheduler")
    own = client_used + sum(used.values())
    return {
        "workers": workers,
        "batch": batch,
        "pages": sum(totals.statuses.values()),
        "files": totals.files,
        "statuses": dict(totals.statuses),
        "seconds": seconds,
        "busy_seconds": totals.worker_seconds,
        "waiting_for_bytes_seconds": totals.waited_seconds,
        "worker_cpu_seconds": sum(used.values()),
        "client_cpu_seconds": client_used,
        "others_cpu_seconds": _others(before, own),
        "memory_mb": {name: samples.summary(name) for name in processes},
    }


def _client_cost(model: str, workers: int) -> dict[str, float]:
    """Return the processor time that client and scheduler need a task and a file.

    The files do not exist, so the workers have next to nothing to do; two sizes of batch give
    the two unknowns.
    """
    import psutil

    from runtime.archive.cluster import open_client
    from runtime.archive.model import pack
    from runtime.archive.schedule import score
    from runtime.archive.source import PageFile
    from runtime.bundle import load_bundle

    packed, own, a_task = pack(load_bundle(model)), psutil.Process(), {}
    with open_client(None, workers) as client, tempfile.TemporaryDirectory() as scratch:
        for batch in _COST_BATCHES:
            names = [f"/nowhere/{batch}/{i}.jpg" for i in range(_COST_TASKS * batch)]
            before = _cpu(own)
            score(map(PageFile, names), scratch, packed, client, batch_files=batch)
            a_task[batch] = (_cpu(own) - before) / _COST_TASKS
    small, big = _COST_BATCHES
    a_file = max(0.0, (a_task[big] - a_task[small]) / (big - small))
    return {"seconds_a_task": a_task[small] - small * a_file, "seconds_a_file": a_file}


@dataclass(slots=True)
class Samples:
    """Resident memory of some processes over a run, MB."""

    memory: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, mb: float) -> None:
        """Add a look at one process."""
        self.memory.setdefault(name, []).append(mb)

    def summary(self, name: str) -> dict[str, float]:
        """Return the means of the second and the last quarter, and the peak.

        The first quarter is left to loading and to the growth of pools and caches.
        """
        series = self.memory.get(name) or [0.0]
        quarter = max(1, len(series) // 4)
        second = series[quarter : 2 * quarter] or series
        last = series[-quarter:]
        return {
            "second_quarter": sum(second) / len(second),
            "last_quarter": sum(last) / len(last),
            "peak": max(series),
            "looks": len(series),
        }


@contextmanager
def watched(processes: Mapping[str, Any]) -> Iterator[Samples]:
    """Look at the processes' memory every two seconds while the block runs."""
    samples, stop = Samples(), Event()

    def look() -> None:
        while not stop.wait(_SAMPLE_S):
            for name, process in processes.items():
                samples.add(name, process.memory_info().rss / 1e6)

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def _cpu(process: Any) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _others(before: Any, own: float) -> float:
    """Return the processor seconds that others used since `before`."""
    import psutil

    now = psutil.cpu_times()
    idle = ("idle", "iowait", "guest", "guest_nice", "steal")
    busy = sum(getattr(now, f) - getattr(before, f) for f in now._fields if f not in idle)
    return max(0.0, float(busy) - own)


def compare_records(
    archive: Mapping[tuple[str, int], Mapping[str, Any]], classify: Sequence[Mapping[str, Any]]
) -> dict[str, int]:
    """Count the records of ``classify`` that the archive answered in the same way, times apart."""
    same = sum(
        _untimed(archive.get((record["source"], record["page"]), {})) == _untimed(record)
        for record in classify
    )
    return {"compared": len(classify), "identical": same}


def _untimed(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "timing_ms"}


def _records(out: Path) -> dict[tuple[str, int], dict[str, Any]]:
    return {
        (row["source"], row["page"]): json.loads(row["record"])
        for row in _rows(out, ("source", "page", "record"))
    }


def _rows(out: Path, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    from runtime.archive.destination import Destination

    destination = Destination(str(out))
    for model in destination.models():
        for _, table in destination.read_all(destination.parts(model), columns):
            yield from table.to_pylist()


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _stored(out: Path) -> dict[str, Any]:
    """Return what the data set weighs, and how uneven the pages are."""
    from benchmarks.statistics import percentile

    rows = list(_rows(out, ("source", "page", "total_ms")))
    files = list(out.rglob("*.parquet"))
    times = [row["total_ms"] for row in rows]
    mean = sum(times) / len(times)
    return {
        "rows": len(rows),
        "distinct_pages": len({(row["source"], row["page"]) for row in rows}),
        "part_files": len(files),
        "bytes_a_row": sum(file.stat().st_size for file in files) / len(rows),
        "page_ms": {
            "mean": mean,
            "sd": (sum((t - mean) ** 2 for t in times) / len(times)) ** 0.5,
            "p50": percentile(times, 50),
            "p99": percentile(times, 99),
        },
    }


def to_markdown(result: Mapping[str, Any]) -> str:
    """Return the figures as a page of documentation."""
    one, many, machine = result["one_process"], result["workers"], result["machine"]
    free, cpu = result["cores_left_by_others"], result["cpu_seconds_a_page"]
    idle, share = result["overhead"].values()
    by_cpu = many["workers"] * cpu["one_process"]
    cost = result["client_cost"]
    batch_s = many["batch"] * cpu["workers"]
    batch_cost = (cost["seconds_a_task"] + many["batch"] * cost["seconds_a_file"]) / batch_s
    by_cpu /= cpu["workers"] + cpu["client_and_scheduler"]
    lines = [
        "# The archive at scale, measured",
        "",
        f"Written by `python -m benchmarks.archive`; figures in `archive-scale.json`. "
        f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python "
        f"{machine['python']}. Bundle {result['bundle']['name']} {result['bundle']['version']}. "
        f"Pool: {result['pool']['pages']} pages of {result['pool']['mean_bytes'] / 1e3:.0f} kB in "
        f"the mean, repeated under {many['files']} names.",
        "",
        "| | one process (`classify`) | archive, "
        f"{many['workers']} worker processes, batches of {many['batch']} |",
        "| --- | --- | --- |",
        f"| pages | {one['pages']} (half before, half after) | {many['pages']} |",
        f"| seconds | {one['seconds']:.1f} | {many['seconds']:.1f} |",
        f"| pages a second | {one['pages'] / one['seconds']:.1f} "
        f"| {many['pages'] / many['seconds']:.1f} |",
        f"| processor ms a page | {1e3 * cpu['one_process']:.1f} | {1e3 * cpu['workers']:.1f} "
        f"+ {1e3 * cpu['client_and_scheduler']:.2f} client and scheduler |",
        f"| cores that other processes left over | {free['one']:.2f} | {free['many']:.2f} |",
        "",
        f"- Speed-up by the clock: {result['speed_up']:.2f} (at most {many['workers']}). By "
        f"processor time, which other work on the machine spoils less: {by_cpu:.2f}.",
        f"- Overhead: the workers had no batch in hand {idle:.1%} of the time (start and end of "
        f"the run included); client and scheduler used {share:.1%} of the processor time.",
        f"- Client and scheduler, measured on files that do not exist: "
        f"{1e3 * cost['seconds_a_task']:.1f} ms a task and {1e6 * cost['seconds_a_file']:.0f} us a "
        f"file, or {batch_cost:.2%} of the workers' {batch_s:.2f} s a batch.",
        f"- Workers waited for bytes or for a write {_waiting(many):.1%} of their time.",
        f"- Rows {many['rows']}, distinct pages {many['distinct_pages']}; identical to `classify`: "
        f"{result['compared']['identical']} of {result['compared']['compared']} compared.",
        f"- Data set: {many['part_files']} files, {many['bytes_a_row']:.0f} bytes a row.",
        f"- One page: {many['page_ms']['mean']:.1f} ms in the mean, median "
        f"{many['page_ms']['p50']:.1f}, 99 % under {many['page_ms']['p99']:.1f}.",
        *_large(result),
        "",
        "| memory, MB | second quarter | last quarter | peak |",
        "| --- | --- | --- | --- |",
    ]
    for name, memory in many["memory_mb"].items():
        lines.append(
            f"| {name} | {memory['second_quarter']:.1f} | {memory['last_quarter']:.1f} "
            f"| {memory['peak']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _large(result: Mapping[str, Any]) -> list[str]:
    if "large" not in result:
        return []
    large = result["large"]
    return [
        f"- Full-size pages ({large['mean_bytes'] / 1e6:.2f} MB in the mean), one process: "
        f"{1e3 * large['cpu_seconds'] / large['pages']:.1f} processor ms a page."
    ]


def _waiting(many: Mapping[str, Any]) -> float:
    return float(many["waiting_for_bytes_seconds"] / many["busy_seconds"])


if __name__ == "__main__":
    sys.exit(main())
