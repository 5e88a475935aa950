"""What Prometheus reads at `/metrics`: counts and times, never a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

if TYPE_CHECKING:
    from runtime.bundle import Bundle

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_SECONDS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics:
    """The service's own registry, so that two services in one process do not mix."""

    def __init__(self, bundle: Bundle) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._counter("requests", "Requests answered", "route", "method", "code")
        self.pages = self._counter("pages", "Pages answered", "status", "label")
        self.flags = self._counter("flags", "Critical classes flagged", "label")
        self.refused = self._counter("refused", "Requests refused for want of room")
        self.workers_lost = Gauge(
            "ecg_edge_workers_lost", "Workers that hung or died", registry=self.registry
        )
        self.in_hand = Gauge(
            "ecg_edge_requests_in_hand", "Uploads being answered", registry=self.registry
        )
        self.ready = Gauge(
            "ecg_edge_ready", "1 while pages can be answered", registry=self.registry
        )
        self.stages = Histogram(
            "ecg_edge_stage_seconds",
            "Time of each stage of a page",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        about = Gauge(
            "ecg_edge_bundle_info",
            "The bundle that answers",
            ["name", "version", "sha256"],
            registry=self.registry,
        )
        about.labels(bundle.name, bundle.version, bundle.model.sha256).set(1)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"ecg_edge_{name}", what, labels, registry=self.registry)

    def count_record(self, record: dict[str, Any]) -> None:
        """Count one page's answer."""
        self.pages.labels(record["status"], record["label"] or "").inc()
        for flag in record["flags"]:
            self.flags.labels(flag).inc()
        for stage, milliseconds in record["timing_ms"].items():
            self.stages.labels(stage).observe(milliseconds / 1e3)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
