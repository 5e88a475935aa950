"""Writes what was measured as a page that a colleague can read."""

from __future__ import annotations

from typing import Any

__all__ = ["markdown"]

_INTRODUCTION = """\
# How well pages are read

Written by `{command}`; the numbers are in
`reading.json`. Reading = decode, panel, quality checks, tensor: the device's own code. Model:
{model}. Machine: {machine}. Intervals are Wilson's, 95 %.
"""

_PANEL_NOTE = """\
Pages are drawn (`train/draw`) from real recordings of 10 s and from synthetic ones in {styles} cart
styles and six layouts, then stored and read back like a file from a cart. `clean` is the cart's own
file, `scan` a flatbed scan (turns, skew up to 9 degrees, blur, noise, JPEG 45-95), `fax` one bit a
pixel, `photo` a phone photo (perspective, shadow, folds, desk). The panel is the grid's area where
the grid belongs to the traces alone, else the tight band around the ink of the traces.
"""


_SIGNAL_NOTE = """\
### How closely the signals follow what was drawn

The model's own input: each lead low-passed at 25 Hz, against the drawn signal filtered alike. The
error is the root mean square of their difference over the standard deviation of the drawn signal,
at the best shift in time; gain is the slope of read on drawn. Leads of a rightly told layout; paper
at 50 mm/s, whose speed only the print tells, is left out.
"""

_SIGNAL_HEAD = "| way in | leads | error: median (quartiles) | gain: median (quartiles) |"


def _signal_rows(signals: dict[str, dict[str, Any]]) -> list[str]:
    rows = []
    for capture, found in signals.items():
        cells = []
        for name in ("relative_error", "gain"):
            low, middle, high = found.get(name, (float("nan"),) * 3)
            cells.append(f"{middle:.2f} ({low:.2f}-{high:.2f})")
        rows.append(f"| {capture} | {found['n']} | {' | '.join(cells)} |")
    return rows


def markdown(results: dict[str, Any]) -> str:
    """Turn the results of ``reading.json`` into Markdown.

    Parameters
    ----------
    results : dict
        As ``train.reading.command`` gathers them; a part that was not measured is left out.
    """
    parts = [_INTRODUCTION.format(**results["about"])]
    sections = (
        ("drawn", _drawn),
        ("contact_sheet", _sheet),
        ("blanking", _blanking),
        ("resolution", _resolution),
        ("styles", _styles),
        ("probe", _probes),
        ("gate", _gate),
        ("speed", _speed),
    )
    parts += [write(results[name]) for name, write in sections if name in results]
    return "\n".join(parts)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _target(rate: dict[str, Any]) -> str:
    if rate["target"] is None:
        return ""
    sign = "<=" if rate["at_most"] else ">="
    verdict = {True: "met", False: "**missed**", None: "not measured"}[rate["met"]]
    return f"{sign} {_percent(rate['target'])}: {verdict}"


def _rate_rows(rates: list[dict[str, Any]]) -> list[str]:
    rows = []
    for rate in rates:
        low, high = (100 * v for v in rate["interval"])
        share = _percent(rate["share"])
        count = f"{rate['hits']}/{rate['n']}"
        rows.append(
            f"| {rate['name']} | {share} | {low:.1f}-{high:.1f} | {count} | {_target(rate)} |"
        )
    return rows


def _table(head: str, rows: list[str]) -> str:
    columns = head.count("|") - 1
    return "\n".join([head, "|" + "---|" * columns, *rows, ""])


_RATE_HEAD = "| what | share | interval | n | target |"


def _drawn(part: dict[str, Any]) -> str:
    text = ["## Panel, layout, orientation and scale on drawn pages\n", ""]
    text[1] = _PANEL_NOTE.format(styles=part["styles"])
    for capture, rates in part["captures"].items():
        text += [f"### {capture}\n", _table(_RATE_HEAD, _rate_rows(rates))]
    text += ["### Panel found, by style and by layout (all ways in)\n"]
    text += [_table(_RATE_HEAD, _rate_rows(part["by_style"] + part["by_layout"]))]
    text += ["### Leads read (r >= 0.9), by layout (all ways in)\n"]
    text += [_table(_RATE_HEAD, _rate_rows(part["leads_by_layout"]))]
    text += [_SIGNAL_NOTE, _table(_SIGNAL_HEAD, _signal_rows(part["signals"]))]
    return "\n".join(text)


def _sheet(part: dict[str, Any]) -> str:
    return (
        f"## Real pages\n\n`{part['file']}` shows {part['n']} random pages of ecg5 with the panel "
        "(red) and the leads (green): look at it.\n"
    )


def _blanking(part: dict[str, Any]) -> str:
    rows = _rate_rows(part["rates"])
    text = [
        "## Header and footer never reach the tensor\n",
        "Header and footer bands of every ecg5 page with a header are painted white. Where a wave "
        "rises into a band, painting it cuts the wave as well; the second line paints only ink "
        "that lies wholly inside a band (letters, rules).\n",
        _table(_RATE_HEAD, rows),
    ]
    if part["changed"]:
        text.append("Changed even so: " + ", ".join(part["changed"][:20]) + "\n")
    return "\n".join(text)


def _resolution(part: dict[str, Any]) -> str:
    rows = []
    for row in part["rows"]:
        cells = [row["name"], f"{row['mean_change_of_tensor']:.4f}", str(row["refused"])]
        if "same_label" in row:
            same = row["same_label"]
            low, high = (100 * v for v in same["interval"])
            change = row["mean_change_of_probability"]
            verdict = "met" if change <= row["mean_change_target"] else "**missed**"
            cells += [
                f"{_percent(same['share'])} ({low:.1f}-{high:.1f})",
                f"{same['hits']}/{same['n']}",
                _target(same),
                f"{change:.4f} (<= {row['mean_change_target']}: {verdict})",
            ]
        rows.append("| " + " | ".join(cells) + " |")
    head = "| page at | mean change of tensor | refused |"
    if any("same_label" in row for row in part["rows"]):
        head += " same label | n | target | mean change of probability |"
    return f"## Resolution and JPEG quality\n\n{part['note']}\n\n{_table(head, rows)}"


def _styles(part: dict[str, Any]) -> str:
    note = (
        f"{part['signals']} real recordings of patients that no network was fitted on, each drawn "
        "in 6 styles times 4 layouts, clean. A page that is refused counts as another label."
    )
    return f"## Style and layout\n\n{note}\n\n{_table(_RATE_HEAD, _rate_rows(part['rates']))}"


def _probes(part: dict[str, Any]) -> str:
    rows = []
    for probe in part["probes"]:
        cells = []
        for view in ("raw_page", "canonical_tensor"):
            low, high = (100 * v for v in probe[view]["interval"])
            cells.append(f"{_percent(probe[view]['share'])} ({low:.1f}-{high:.1f})")
        count = probe["raw_page"]["n"]
        rows.append(
            f"| {probe['what']} | {cells[0]} | {cells[1]} | {_percent(probe['chance'])} | {count} |"
        )
    head = "| a forest names the | from the raw page | from the tensor | guessing | n |"
    return f"## What still gives the page away\n\n{_table(head, rows)}"


def _gate(part: dict[str, Any]) -> str:
    text = ["## Refusals\n", _table(_RATE_HEAD, _rate_rows(part["rates"]))]
    if part["missed"]:
        text.append("Passed for an ECG: " + ", ".join(part["missed"][:30]) + "\n")
    if part["refused"]:
        text.append("Refused pages of ecg5:\n")
        text += [f"- {name}: {'; '.join(why)}" for name, why in list(part["refused"].items())[:30]]
        text.append("")
    return "\n".join(text)


def _speed(part: dict[str, Any]) -> str:
    rows = [
        f"| {t['file']} | {t['width']} x {t['height']} | {t['pillow']:.1f} | {t['decode']:.1f} | "
        f"{t['panel']:.1f} | {t['tensor']:.1f} | {t['total']:.1f} | {t['ratio']:.2f} |"
        for t in part["files"]
    ]
    head = "| file | px | Pillow grey decode | decode | panel | tensor | total | ratio |"
    verdict = "met" if part["met"] else "**missed**"
    note = (
        f"Medians of {part['rounds']} rounds, ms of processor time, Pillow and ours in turn. Pages "
        f"of 2213 x 1572: median ratio {part['median_ratio']:.2f} (target at most 2: {verdict})."
    )
    return f"## Speed\n\n{note}\n\n{_table(head, rows)}"
