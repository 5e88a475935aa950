"""The archive's benchmark and the simulation behind its plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.archive import Samples, compare_records, name_pages
from benchmarks.archive_plan import Scenario, simulate
from runtime.errors import NoInputError

BASE = Scenario(
    pages=20_000,
    cores=4,
    batch=64,
    page_s=0.03,
    page_sd_s=0.01,
    task_s=0.001,
    file_s=1e-5,
    page_bytes=1e5,
    row_bytes=500,
    store_s=0.0,
    network_gbit=1000,
    failure_h=1e9,
)


def test_plain_run_takes_pages_times_seconds_over_cores() -> None:
    found = simulate(BASE)
    assert found.seconds == pytest.approx(20_000 * 0.03 / 4, rel=0.02)
    assert found.tasks == 313
    assert found.lost == 0
    assert found.busy > 0.98


def test_twice_the_cores_take_half_the_time_until_the_scheduler_is_full() -> None:
    twice = simulate(replace(BASE, cores=8))
    assert twice.seconds == pytest.approx(simulate(BASE).seconds / 2, rel=0.05)
    slow = replace(BASE, task_s=0.5)
    full = simulate(replace(slow, cores=64))
    assert full.scheduler > 0.98
    assert full.seconds == pytest.approx(simulate(replace(slow, cores=256)).seconds, rel=0.05)


def test_narrow_network_is_the_limit() -> None:
    found = simulate(replace(BASE, network_gbit=0.05))
    assert found.gbit == pytest.approx(0.05, rel=0.02)


def test_deaths_cost_time_and_every_batch_is_answered() -> None:
    found = simulate(replace(BASE, failure_h=0.005, restart_s=5.0))
    assert found.lost > 0
    assert found.tasks == 313 + found.lost
    assert found.seconds > simulate(BASE).seconds


def test_same_seed_same_run() -> None:
    assert simulate(BASE, 1) == simulate(BASE, 1) != simulate(BASE, 2)


def test_records_are_compared_without_their_times() -> None:
    record = {"source": "a", "page": 1, "label": "normal", "timing_ms": {"total": 1}}
    archive = {("a", 1): {**record, "timing_ms": {"total": 2}}}
    other = {**record, "label": "covid19"}
    missing = {**record, "source": "b"}
    assert compare_records(archive, [record, other, missing]) == {"compared": 3, "identical": 1}


def test_memory_is_summed_up_by_quarters() -> None:
    samples = Samples()
    for mb in (50, 90, 100, 100, 100, 100, 101, 103):
        samples.add("worker", mb)
    found = samples.summary("worker")
    assert (found["second_quarter"], found["last_quarter"], found["peak"]) == (100, 102, 103)


def test_pool_is_repeated_under_distinct_names(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    for name in ("a.jpg", "b.png"):
        (pool / name).write_text(name)
    found = name_pages(pool, tmp_path / "in", 5)
    names = sorted((tmp_path / "in").rglob("*.*"))
    assert found == {"pages": 2, "mean_bytes": 5.0}
    assert [path.read_text() for path in names] == ["a.jpg", "b.png", "a.jpg", "b.png", "a.jpg"]


def test_empty_pool_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoInputError):
        name_pages(tmp_path, tmp_path / "in", 5)
