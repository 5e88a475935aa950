"""Charts that matplotlib draws: lines in panels, bars, clouds, maps, signals that are no ECG."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CHARTS"]


@contextmanager
def _figure(rng: np.random.Generator, rows: int = 1, cols: int = 1) -> Iterator[tuple[Any, Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(float(rng.uniform(7, 12)), float(rng.uniform(5, 9))))
    FigureCanvasAgg(figure)
    yield figure, figure.subplots(rows, cols, squeeze=False)


def _picture(figure: Any, rng: np.random.Generator) -> Image.Image:
    stream = io.BytesIO()
    figure.savefig(stream, dpi=float(rng.integers(90, 180)), format="png")
    return Image.open(stream).convert("RGB")


def line_chart(rng: np.random.Generator) -> Image.Image:
    """Random walks with axes and legend."""
    with _figure(rng) as (figure, axes):
        for index in range(int(rng.integers(1, 6))):
            axes[0, 0].plot(np.cumsum(rng.normal(0, 1, 300)), label=f"series {index}")
        axes[0, 0].legend()
        axes[0, 0].grid(visible=bool(rng.random() < 0.5))
        return _picture(figure, rng)


def bar_chart(rng: np.random.Generator) -> Image.Image:
    """Bars."""
    with _figure(rng) as (figure, axes):
        count = int(rng.integers(3, 40))
        axes[0, 0].bar(range(count), rng.gamma(2, 10, count))
        return _picture(figure, rng)


def scatter(rng: np.random.Generator) -> Image.Image:
    """A cloud of points."""
    with _figure(rng) as (figure, axes):
        axes[0, 0].scatter(rng.normal(size=400), rng.normal(size=400), s=float(rng.uniform(4, 60)))
        return _picture(figure, rng)


def pie(rng: np.random.Generator) -> Image.Image:
    """A pie."""
    with _figure(rng) as (figure, axes):
        axes[0, 0].pie(rng.gamma(2, 10, int(rng.integers(3, 9))))
        return _picture(figure, rng)


def heat_map(rng: np.random.Generator) -> Image.Image:
    """A coloured matrix."""
    with _figure(rng) as (figure, axes):
        axes[0, 0].imshow(rng.normal(size=(20, 30)), aspect="auto")
        return _picture(figure, rng)


def contours(rng: np.random.Generator) -> Image.Image:
    """Contour lines."""
    with _figure(rng) as (figure, axes):
        x, y = np.meshgrid(np.linspace(-3, 3, 90), np.linspace(-3, 3, 90))
        field = sum(
            np.sin(a * x + b) * np.cos(c * y + d) for a, b, c, d in rng.uniform(0.5, 3, (4, 4))
        )
        axes[0, 0].contour(x, y, field, levels=int(rng.integers(5, 20)), colors="k")
        return _picture(figure, rng)


def _panels(rng: np.random.Generator, rows: int, cols: int, wave: Callable[[], Any]) -> Image.Image:
    with _figure(rng, rows, cols) as (figure, axes):
        bare = rng.random() < 0.5
        for axis in axes.flat:
            axis.plot(wave(), color="k", linewidth=0.9)
            if bare:
                axis.axis("off")
        return _picture(figure, rng)


def sine_panels(rng: np.random.Generator) -> Image.Image:
    """Three rows of four sine waves: the layout of an ECG, not its traces."""
    t = np.linspace(0, 2.5, 500)
    return _panels(
        rng, 3, 4, lambda: np.sin(2 * np.pi * rng.uniform(0.6, 6) * t + rng.uniform(0, 6))
    )


def walk_panels(rng: np.random.Generator) -> Image.Image:
    """Three rows of four random walks."""
    return _panels(rng, 3, 4, lambda: np.cumsum(rng.normal(0, 1, 250)))


def noise_rows(rng: np.random.Generator) -> Image.Image:
    """Rows of noise over the whole width."""
    return _panels(rng, int(rng.integers(3, 13)), 1, lambda: rng.normal(0, 1, 900))


def histogram_panels(rng: np.random.Generator) -> Image.Image:
    """Small histograms."""
    with _figure(rng, 3, 4) as (figure, axes):
        for axis in axes.flat:
            axis.hist(rng.normal(size=200), bins=int(rng.integers(8, 30)))
        return _picture(figure, rng)


def _stack(rng: np.random.Generator, signals: list[np.ndarray]) -> Image.Image:
    with _figure(rng) as (figure, axes):
        axis = axes[0, 0]
        for index, values in enumerate(signals):
            axis.plot(values / (np.ptp(values) + 1e-9) * 0.8 - index, color="k", linewidth=0.7)
        axis.axis("off")
        return _picture(figure, rng)


def eeg(rng: np.random.Generator) -> Image.Image:
    """An electroencephalogram: many rows of 1/f noise with bursts of 10 Hz."""
    t = np.linspace(0, 10, 2000)
    rows = int(rng.integers(8, 21))
    signals = []
    for _ in range(rows):
        slow = np.convolve(np.cumsum(rng.normal(0, 1, t.size)), np.hanning(9), "same")
        slow -= np.convolve(slow, np.ones(301) / 301, "same")
        alpha = np.sin(2 * np.pi * 10 * t + rng.uniform(0, 6)) * (np.sin(0.7 * t) > 0.5)
        signals.append(slow + 2 * alpha)
    return _stack(rng, signals)


def seismogram(rng: np.random.Generator) -> Image.Image:
    """Bursts that fade, in rows."""
    t = np.linspace(0, 1, 2500)
    signals = []
    for _ in range(int(rng.integers(3, 13))):
        start = rng.uniform(0.1, 0.6)
        fade = np.where(t > start, np.exp(-(t - start) * rng.uniform(4, 12)), 0.02)
        signals.append(rng.normal(0, 1, t.size) * fade)
    return _stack(rng, signals)


def pulse_waves(rng: np.random.Generator) -> Image.Image:
    """Pulse oximetry, airway pressure and the like: smooth periodic rows, each at its own rate."""
    t = np.linspace(0, 10, 1500)
    signals = []
    for _ in range(int(rng.integers(3, 7))):
        phase = (t * rng.uniform(0.2, 1.8) + rng.uniform()) % 1
        signals.append(phase ** rng.uniform(0.3, 1.5) * np.exp(-phase * rng.uniform(2, 6)))
    return _stack(rng, signals)


CHARTS: Final[dict[str, Callable[[np.random.Generator], Image.Image]]] = {
    "line-chart": line_chart,
    "bar-chart": bar_chart,
    "scatter": scatter,
    "pie": pie,
    "heat-map": heat_map,
    "contours": contours,
    "sine-panels": sine_panels,
    "walk-panels": walk_panels,
    "noise-rows": noise_rows,
    "histogram-panels": histogram_panels,
    "eeg": eeg,
    "seismogram": seismogram,
    "pulse-waves": pulse_waves,
}
