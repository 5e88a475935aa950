"""The report on a destination: Markdown and a PNG a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from PIL import Image

from runtime.archive.charts import bar_chart, line_chart, png_bytes, round_top, stacked
from runtime.archive.destination import Destination, open_destination
from runtime.archive.known import KnownPages, read_known
from runtime.archive.tally import Period, Tally, periods, tally
from runtime.errors import NoInputError
from runtime.labels import CRITICAL_LABELS, LABEL_NAMES, LABELS
from runtime.metrics import wilson

__all__ = ["write_report"]

_FOLDER: Final = "_report"
"""Parquet readers skip names that begin with an underscore."""
_STATUSES: Final = ("ok", "uncertain", "rejected", "error")
_MOST: Final = 40
"""Rows of a table of sites or reasons; the rest is summed up."""


def write_report(
    destination: str, labels: str | None, label_column: str | None, time_column: str | None
) -> str:
    """Count a destination, write ``_report/report.md`` and a PNG a model, return the Markdown.

    Parameters
    ----------
    destination : str
        Folder or URL of the Parquet data set.
    labels : str or None
        CSV file for `runtime.archive.known.read_known`.
    label_column, time_column : str or None
        Columns of that file.

    Raises
    ------
    NoInputError
        If there are no answers there.
    """
    place = open_destination(destination)
    known = read_known(labels, label_column, time_column) if labels else KnownPages()
    models = [model for model in place.models() if place.parts(model)]
    if not models:
        raise NoInputError(
            f"{destination}: no answers in it", "score first: archive SOURCE --out DEST"
        )
    text = f"# Archive report: {destination}\n"
    for model in models:
        text += "\n" + _report_one(place, model, known)
    place.put(f"{_FOLDER}/report.md", text.encode("utf-8", "replace"))
    return text


def _report_one(place: Destination, model: str, known: KnownPages) -> str:
    counts = tally(place, model, known)
    gathered = periods(counts.days)
    place.put(f"{_FOLDER}/{model}.png", png_bytes(_picture(counts, gathered)))
    identity = "; ".join(sorted(counts.identities))
    parts = [
        f"## {identity} ({model})\n\n{counts.total.pages} pages of {counts.files} files. "
        f"Research and decision support; not a diagnosis.\n\n![charts]({model}.png)",
        _classes(counts),
        _sites(counts),
        _drift(counts, gathered, known),
        _reasons(counts),
    ]
    if known.has_labels:
        parts.append(_agreement(counts, known))
    return "\n\n".join(parts) + "\n"


def _classes(counts: Tally) -> str:
    total = counts.total
    answered = sum(total.labels.values())
    status = _table(
        ("status", "pages", "share"),
        [(s, total.statuses[s], _share(total.statuses[s], total.pages)) for s in _STATUSES],
    )
    label = _table(
        ("class (best guess of ok and uncertain pages)", "pages", "share"),
        [(LABEL_NAMES[x], total.labels[x], _share(total.labels[x], answered)) for x in LABELS],
    )
    flag = _table(
        ("flag", "pages", "share of answered"),
        [
            (LABEL_NAMES.get(x, x), counts.flags[x], _share(counts.flags[x], answered))
            for x in dict.fromkeys([*CRITICAL_LABELS, *counts.flags])
        ],
    )
    return f"### Answers\n\n{status}\n\n{label}\n\n{flag}"


def _sites(counts: Tally) -> str:
    order = sorted(counts.sites, key=lambda site: (-_pages(counts.sites[site]), site))
    rows = [_site_row(site or "(top folder)", counts.sites[site]) for site in order[:_MOST]]
    if rest := order[_MOST:]:
        together: Counter[str] = Counter()
        for site in rest:
            together.update(counts.sites[site])
        rows.append(_site_row(f"({len(rest)} more)", together))
    columns = ("site folder", "pages", *_STATUSES, *(LABEL_NAMES[x] for x in LABELS))
    return f"### Site folders\n\n{_table(columns, rows)}"


def _pages(site: Counter[str]) -> int:
    return sum(site[status] for status in _STATUSES)


def _site_row(name: str, site: Counter[str]) -> tuple[object, ...]:
    return name, _pages(site), *(site[key] for key in (*_STATUSES, *LABELS))


def _drift(counts: Tally, gathered: Mapping[str, Period], known: KnownPages) -> str:
    origin = "recording time of the table" if known.has_times else "time of the file"
    total = counts.total
    overall = total.statuses["rejected"] / max(total.pages, 1)
    rows = []
    for name, period in gathered.items():
        rejected = period.statuses["rejected"]
        low, high = wilson(rejected, period.pages)
        layout, most = max(period.layouts.items(), key=lambda item: (item[1], item[0]))
        rows.append(
            (
                name,
                period.pages,
                f"{_share(rejected, period.pages)} [{low:.1%}, {high:.1%}]",
                "" if low <= overall <= high else "differs",
                _figure(period.px_per_mm_at(0.5), ".1f"),
                f"{layout} {_share(most, period.pages)}",
                _figure(period.confidence_at(0.5), ".2f"),
                _figure(period.confidence_at(0.1), ".2f"),
            )
        )
    columns = (
        "period",
        "pages",
        "rejected [95 %]",
        f"against all ({overall:.1%})",
        "px/mm, median",
        "layout seen most",
        "confidence, median",
        "confidence, lowest tenth",
    )
    layouts = _table(
        ("layout", "pages", "share"),
        [(x, n, _share(n, total.pages)) for x, n in total.layouts.most_common()],
    )
    notes = [f"By {origin}."]
    if counts.undated:
        notes.append(f"Left out for want of a time: {counts.undated} pages.")
    if known.unreadable_times:
        notes.append(f"Times of the table that are not ISO 8601: {known.unreadable_times}.")
    return f"### Drift\n\n{' '.join(notes)}\n\n{_table(columns, rows)}\n\n{layouts}"


def _reasons(counts: Tally) -> str:
    rows = [(reason, n) for reason, n in counts.reasons.most_common(_MOST)]
    if not rows:
        return "### Reasons\n\nNone: every page was answered with confidence."
    return f"### Reasons given\n\n{_table(('reason', 'pages'), rows)}"


def _agreement(counts: Tally, known: KnownPages) -> str:
    pairs = counts.pairs
    answered = Counter({pair: n for pair, n in pairs.items() if pair[1] in LABELS})
    rows = []
    for label in LABELS:
        true = sum(n for (a, _), n in pairs.items() if a == label)
        n = sum(n for (a, _), n in answered.items() if a == label)
        named = sum(n for (_, b), n in answered.items() if b == label)
        right = answered[label, label]
        rows.append((LABEL_NAMES[label], true, n, _ratio(right, n), _ratio(right, named)))
    right = sum(n for (a, b), n in answered.items() if a == b)
    certain = sum(n for (a, b), n in counts.certain_pairs.items() if a == b)
    lines = [
        f"- all answered pages: {_ratio(right, sum(answered.values()))}",
        f"- status ok only: {_ratio(certain, sum(counts.certain_pairs.values()))}",
        f"- answered at all: {_ratio(sum(answered.values()), sum(pairs.values()))} of the labelled",
        f"- pages without a label: {counts.unlabelled}",
    ]
    if known.unknown_labels:
        names = ", ".join(f"{_cell(x)} ({n})" for x, n in known.unknown_labels.most_common(5))
        lines.append(f"- labels that are none of the five classes, left out: {names}")
    table = _table(("class", "labelled", "answered", "recall [95 %]", "precision [95 %]"), rows)
    matrix = _table(
        ("label \\ answer", *(LABEL_NAMES[x] for x in LABELS), "rejected", "error"),
        [(LABEL_NAMES[a], *(pairs[a, b] for b in (*LABELS, "rejected", "error"))) for a in LABELS],
    )
    return (
        "### Agreement with the labels\n\nIntervals: Wilson, 95 %. Pages of one patient count as "
        "independent, so the true intervals are wider.\n\n"
        + "\n".join(lines)
        + f"\n\n{table}\n\n{_flags(counts, answered)}\n\n{matrix}"
    )


def _flags(counts: Tally, answered: Counter[tuple[str, str]]) -> str:
    rows = []
    for flag in CRITICAL_LABELS:
        ill = sum(n for (a, _), n in answered.items() if a == flag)
        well = sum(answered.values()) - ill
        hit = counts.flag_pairs[flag, flag]
        false = sum(n for (a, f), n in counts.flag_pairs.items() if f == flag and a != flag)
        rows.append((LABEL_NAMES[flag], _ratio(hit, ill), _ratio(well - false, well)))
    return _table(("flag", "sensitivity [95 %]", "specificity [95 %]"), rows)


def _picture(counts: Tally, gathered: Mapping[str, Period]) -> Image.Image:
    total, names, spans = counts.total, list(gathered), list(gathered.values())
    answered = sum(total.labels.values())
    rejected = [100 * p.statuses["rejected"] / p.pages for p in spans]
    px_per_mm = [p.px_per_mm_at(0.5) for p in spans]
    finest = max((v for v in px_per_mm if v is not None), default=1.0)
    return stacked(
        [
            bar_chart("Pages by status", _bars(_STATUSES, total.statuses, total.pages)),
            bar_chart("Answered pages by class", _bars(LABELS, total.labels, answered)),
            line_chart(
                "Rejected pages",
                names,
                {"rejected": rejected},
                (0, round_top(max(rejected, default=0))),
                " %",
            ),
            line_chart(
                "Confidence",
                names,
                {
                    "median": [p.confidence_at(0.5) for p in spans],
                    "lowest tenth": [p.confidence_at(0.1) for p in spans],
                },
                (0, 1),
            ),
            line_chart("Resolution, px/mm", names, {"median": px_per_mm}, (0, round_top(finest))),
        ]
    )


def _bars(
    names: Sequence[str], counts: Mapping[str, int], total: int
) -> list[tuple[str, float, str]]:
    return [
        (LABEL_NAMES.get(x, x), counts[x], f"{counts[x]} ({_share(counts[x], total)})")
        for x in names
    ]


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(x) for x in line) + " |" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _share(n: int, total: int) -> str:
    return f"{n / total:.1%}" if total else "-"


def _ratio(n: int, total: int) -> str:
    """Return a proportion with its counts and Wilson interval."""
    if not total:
        return "- (0)"
    low, high = wilson(n, total)
    return f"{n / total:.3f} [{low:.3f}, {high:.3f}] ({n}/{total})"


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
