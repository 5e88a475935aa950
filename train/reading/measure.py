"""Runs the parts of the reading study and gathers plain records."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from runtime.errors import NoInputError, UsageError
from runtime.host import cpu_model
from runtime.labels import LABELS, LEADS
from train.draw import STYLES, Recording, RecordingFolder, draw_page, heart_of_class, synthesise
from train.reading.drawn import MIN_IOU, Outcome, measure_drawn, rates_of_drawn
from train.reading.ecg5 import Ecg5Page, read_ecg5
from train.reading.fidelity import fidelity_record
from train.reading.gate import false_rejects, rejections
from train.reading.invariance import ROUNDING, blanking, rates_of_styles, resolution, styles
from train.reading.probe import probe_layout, probe_style
from train.reading.rates import Rate, rate_of
from train.reading.reader import Reader, open_reader
from train.reading.sheet import write_contact_sheet
from train.reading.speed import measure_speed
from train.recordings import for_training

__all__ = ["Study"]

_CAPTURES: Final = ("clean", "scan", "fax", "photo")
_SHEET_PAGES: Final = 100
_ROUNDS: Final = 15
_PAGE_SECONDS: Final = 10.0
"""Length of recording that a page shows, s; leads of a shorter one would end before their cells."""
_FULL_SIZE: Final = (2213, 1572)
"""Size of a cart's page at full size, px (../shared/data/README.md)."""


@dataclass
class Study:
    """One run of the measurements.

    Parameters
    ----------
    signals, data, originals : Path
        Recordings, ecg5 pages and full-size pages.
    out : Path
        Where the contact sheet and the failures go.
    model : str or None
        Bundle; None = the default one, if it is there.
    pages : int
        Drawn pages a way in.
    real_pages : int
        Pages of ecg5 at most; 0 takes all.
    seed : int
        Of all that is drawn.
    """

    signals: Path
    data: Path
    originals: Path
    out: Path
    model: str | None
    pages: int
    real_pages: int
    seed: int

    def part(self, name: str) -> dict[str, Any]:
        """Measure one part; returns its entries of reading.json."""
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "drawn": self._drawn,
            "sheet": self._sheet,
            "blanking": self._blanking,
            "resolution": self._resolution,
            "styles": self._styles,
            "gate": self._gate,
            "speed": self._speed,
        }
        if name not in parts:
            raise UsageError(f"unknown part {name!r}")
        return parts[name]()

    def about(self) -> dict[str, Any]:
        """Say with what and on what machine it is measured."""
        return {
            "command": (
                "python -m train reading --signals DIR --data DIR --out DIR "
                f"--pages {self.pages} --seed {self.seed}"
            ),
            "model": self._opened[1],
            "machine": f"{cpu_model()} ({platform.machine()}), Python {platform.python_version()}",
        }

    @cached_property
    def _opened(self) -> tuple[Reader, str]:
        return open_reader(self.model)

    @property
    def _reader(self) -> Reader:
        return self._opened[0]

    @cached_property
    def _folder(self) -> RecordingFolder:
        return RecordingFolder(self.signals)

    @cached_property
    def _ecg5(self) -> list[Ecg5Page]:
        """The pages of ecg5, at most ``real_pages`` of them, drawn from the seed."""
        pages = read_ecg5(self.data)
        if not self.real_pages or self.real_pages >= len(pages):
            return pages
        chosen = np.random.default_rng([self.seed, 20]).permutation(len(pages))[: self.real_pages]
        return [pages[i] for i in sorted(int(i) for i in chosen)]

    def _real(self, index: int) -> Recording:
        """Return one of the recordings that fill a page, or the next one that does."""
        order = np.random.default_rng([self.seed, 21]).permutation(len(self._folder))
        following = (int(order[i % len(order)]) for i in range(index, index + len(order)))
        whole = (i for i in following if self._folder.seconds(i) >= _PAGE_SECONDS)
        return self._folder[next(whole, int(order[index % len(order)]))]

    @cached_property
    def _unseen(self) -> list[int]:
        """Recordings that fill a page and that no network was fitted on, drawn from the seed."""
        order = np.random.default_rng([self.seed, 23]).permutation(len(self._folder)).tolist()
        whole = [i for i in order if self._folder.seconds(i) >= _PAGE_SECONDS]
        return [i for i in whole if not for_training(self._folder[i])]

    def _heart(self, index: int) -> Recording:
        """Return one of these recordings.

        Raises
        ------
        NoInputError
            If there are none.
        """
        if not self._unseen:
            raise NoInputError(
                f"{self.signals} holds no recording of {_PAGE_SECONDS:g} s of a patient that no "
                "network was fitted on",
                "name a folder with more patients as --signals",
            )
        return self._folder[self._unseen[index % len(self._unseen)]]

    def _mixed(self, index: int) -> Recording:
        """Two real recordings, then one of our own."""
        if index % 3 < 2:
            return self._real(index)
        return synthesise(heart_of_class(LABELS[index % len(LABELS)], index), index)

    def _drawn(self) -> dict[str, Any]:
        outcomes: list[Outcome] = []
        captures, signals = {}, {}
        for capture in _CAPTURES:
            seen = measure_drawn(
                self._reader,
                self._mixed,
                capture,
                range(self.pages),
                self.seed,
                self.out / "failures",
            )
            captures[capture] = rates_of_drawn(capture, seen)
            signals[capture] = fidelity_record([outcome.fidelity for outcome in seen])
            outcomes += seen
        return {
            "drawn": {
                "styles": len(STYLES),
                "captures": _records_by_name(captures),
                "signals": signals,
                "by_style": _found_by(outcomes, "style"),
                "by_layout": _found_by(outcomes, "layout"),
                "leads_by_layout": _leads_read_by_layout(outcomes),
            }
        }

    def _sheet(self) -> dict[str, Any]:
        pages = read_ecg5(self.data)
        order = np.random.default_rng([self.seed, 22]).permutation(len(pages))[:_SHEET_PAGES]
        write_contact_sheet(
            self._reader, [pages[int(i)] for i in order], self.out / "contact-sheet.png"
        )
        return {"contact_sheet": {"file": "contact-sheet.png", "n": len(order)}}

    def _blanking(self) -> dict[str, Any]:
        results = blanking(self._reader, self._ecg5)
        bands = [r.change <= ROUNDING for r in results]
        letters = [r.text_change <= ROUNDING for r in results]
        rates = [
            rate_of("bands white: tensor unchanged", bands),
            rate_of("letters white: tensor unchanged", letters, 1.0),
        ]
        changed = [r.path for r in results if r.text_change > ROUNDING]
        return {"blanking": {"rates": _records(rates), "changed": changed}}

    def _full_pages(self) -> list[Path]:
        """Return the files of the pages at the size they were scanned at."""
        files = sorted(self.originals.glob("*.jpg"))
        if not files:
            raise NoInputError(
                f"no JPEG in {self.originals}",
                "name the folder of full-size pages with --originals",
            )
        return files

    def _resolution(self) -> dict[str, Any]:
        full = []
        for path in self._full_pages():
            with Image.open(path) as opened:
                if opened.size == _FULL_SIZE:
                    full.append(opened.convert("RGB"))
        drawn = [
            draw_page(self._heart(i), ("report", "report-plain")[i % 2], self.seed * 1000 + i)[0]
            for i in range(max(20, self.pages))
        ]
        note = (
            f"{len(full)} real and {len(drawn)} drawn pages of 2213 x 1572, the drawn ones of "
            "patients that no network was fitted on."
        )
        rows = [row.to_record() for row in resolution(self._reader, full + drawn)]
        return {"resolution": {"note": note, "rows": rows}}

    def _styles(self) -> dict[str, Any]:
        signals = max(8, 2 * self.pages // 5)
        pages = styles(self._reader, self._heart, signals, self.seed)
        probes = [probe_layout(pages, self.seed), probe_style(pages, self.seed)]
        entries: dict[str, Any] = {"probe": {"probes": [probe.to_record() for probe in probes]}}
        if self._reader.has_model:
            rates = _records(rates_of_styles(pages))
            entries["styles"] = {"signals": signals, "rates": rates}
        return entries

    def _gate(self) -> dict[str, Any]:
        rates, missed = rejections(self._reader)
        real, refused = false_rejects(self._reader, self._ecg5)
        return {
            "gate": {
                "rates": _records(rates + real),
                "missed": missed,
                "refused": {name: list(why) for name, why in refused.items()},
            }
        }

    def _speed(self) -> dict[str, Any]:
        timings = measure_speed(self._reader, self._full_pages(), _ROUNDS)
        ratios = [t.ratio for t in timings if (t.width, t.height) == _FULL_SIZE]
        ratio = float(np.median(ratios)) if ratios else float("nan")  # pages of other sizes only
        return {
            "speed": {
                "rounds": _ROUNDS,
                "median_ratio": round(ratio, 3),
                "met": ratio <= 2.0,
                "files": [t.to_record() for t in timings],
            }
        }


def _records(rates: list[Rate]) -> list[dict[str, Any]]:
    return [rate.to_record() for rate in rates]


def _records_by_name(rates: dict[str, list[Rate]]) -> dict[str, list[dict[str, Any]]]:
    return {name: _records(group) for name, group in rates.items()}


def _found_by(outcomes: list[Outcome], field: str) -> list[dict[str, Any]]:
    names = sorted({str(getattr(o, field)) for o in outcomes})
    return [
        rate_of(
            f"{field} {name}",
            (o.iou >= MIN_IOU for o in outcomes if getattr(o, field) == name),
        ).to_record()
        for name in names
    ]


def _leads_read_by_layout(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    rates = []
    for layout in sorted({outcome.layout for outcome in outcomes}):
        read = [outcome.leads_read for outcome in outcomes if outcome.layout == layout]
        rates.append(Rate(f"leads of {layout}", sum(read), len(LEADS) * len(read)))
    return _records(rates)
