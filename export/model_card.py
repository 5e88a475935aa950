"""Writes MODEL_CARD.md from the RUN's figures; no number in it is typed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from export.judge import Judged
from export.source import Run, Source
from runtime.labels import CRITICAL_LABELS, LABEL_NAMES, LABELS

__all__ = ["INTENDED_USE", "model_card"]

INTENDED_USE: Final = (
    "Research and decision support; not a diagnosis. A person trained in reading ECGs decides."
)

_LIMITS: Final = """\
## Read this before using it

- **Band-limited pages.** The pages it learnt from were filtered to 0.67-25 Hz by the cart. A
  0.67 Hz high-pass distorts the ST segment, in both directions, and 25 Hz blunts the QRS complex.
  What the model calls infarction it learnt from such traces; on pages with another filter its
  figures do not hold until they are measured there (`python -m export check BUNDLE DATA`).
- **COVID-19 is no ECG diagnosis.** The COVID-19 pages of the data set come from other carts than
  the others, so nobody can tell, from these data, how much of the class is the disease and how
  much is the machine that printed it. Read the answer as "looks like the COVID-19 group's pages",
  never as a test for the virus, and never as a reason to test or not to test.
- **Active infarction is rare in the data** ({mi} pages): its interval is wide, and a single page
  more or less moves the recall by {step:.1f} points. The absence of a flag excludes nothing.
- **Labels are noisy**: some contradict each other or the trace, and they were given by reading
  pages, not by what became of the patient.
- **Few carts.** Children, pacemakers, right-sided or posterior leads, and paper speeds other than
  25 mm/s were not measured.
- **A single-lead strip, an unreadable page or one of an unknown layout is rejected**, not guessed.
"""


def model_card(
    run: Run,
    source: Source,
    judged: Judged,
    manifest: Mapping[str, Any],
    audit: Mapping[str, Any] | None,
) -> str:
    """Return the model card.

    Parameters
    ----------
    run : Run
    source : Source
    judged : Judged
    manifest : mapping
        The bundle's manifest, complete.
    audit : mapping or None
        ``audit.json`` of ``python -m train audit``; None: the card says that there is none.
    """
    counts = [int((run.pages.labels == c).sum()) for c in range(len(LABELS))]
    mi = counts[LABELS.index("myocardial_infarction")]
    model = manifest["model"]
    lines = [
        f"# {manifest['name']} {manifest['version']}",
        "",
        f"**{INTENDED_USE}**",
        "",
        f"Reads the canonical redrawing of a 12-lead ECG page ({model['input']['shape']}) and "
        f"gives one of five classes with a calibrated probability. {model['precision']}, "
        f"{model['bytes'] / 1000:.0f} kB, for {model['engine']}. Written by `python -m export` "
        f"from the RUN of commit `{run.record.get('git', '')[:12]}`.",
        "",
        _LIMITS.format(mi=mi, step=100 / mi if mi else 0),
        "## Data",
        "",
        f"{sum(counts)} pages, content hash `{str(run.record['data'].get('sha256', ''))[:16]}`:",
        "",
        _row(["class", "pages"]),
        _row(["---"] * 2),
        *(_row([LABEL_NAMES[c], str(n)]) for c, n in zip(LABELS, counts, strict=True)),
        "",
        *_recordings(run.record.get("recordings")),
        *_reduced(run.record.get("reduced")),
        "The pages are no part of this bundle; the golden pages beside this card are drawn by our "
        "own code from made-up signals.",
        "",
        *_figures(run, source, manifest),
        *_decision(manifest["decision"]),
        *_parity(judged),
        *_audit(audit),
        "## Known failures",
        "",
        *_failures(run, manifest["metrics"]),
        "",
        "## Provenance",
        "",
        *(f"- {key}: {value}" for key, value in _flat(manifest["provenance"])),
        f"- license of the weights: {manifest['license']}",
        "",
    ]
    return "\n".join(lines)


def _recordings(recordings: Mapping[str, Any] | None) -> list[str]:
    """Say what was learnt beside the pages; nothing where there was nothing."""
    if not recordings:
        return []
    return [
        f"The networks also learnt from {recordings['n']} digital recordings of other hospitals "
        f"(half of the patients, at half weight; content hash `{recordings['sha256'][:16]}`), each "
        f"also drawn as pages and read back; {recordings['other']} of them are of no class of ours "
        "and only ask for one answer to all their pages. No figure of protocol P2 is measured on "
        "them.",
        "",
    ]


def _reduced(reduced: Mapping[str, Any] | None) -> list[str]:
    """Say at which other sizes the pages were seen; nothing where there were none."""
    if not reduced:
        return []
    sizes = " and ".join(f"{100 * size:.0f}" for size in reduced["sizes"])
    return [
        f"The networks saw each page at {sizes} % of its size as well, so that an answer hangs "
        f"less on the page's pixels (content hash `{reduced['sha256'][:16]}`).",
        "",
    ]


def _figures(run: Run, source: Source, manifest: Mapping[str, Any]) -> list[str]:
    metrics = manifest["metrics"]
    others = run.metrics.get("models", {})
    return [
        "## Figures",
        "",
        f"Protocol {metrics['protocol']}; n = {metrics['n']}. Intervals are 95 %: Wilson for "
        "shares of pages, session bootstrap for the rest. The first column is this very format on "
        "its engine, the second the RUN's float32.",
        "",
        _row(["figure", "this format", "RUN float32"]),
        _row(["---"] * 3),
        *(
            _row([name, _estimate(metrics.get(name)), _estimate(_of(others, source.name, name))])
            for name in ("accuracy", "macro_recall", "macro_f1", "ece")
        ),
        *(
            _row(
                [
                    f"recall, {LABEL_NAMES[label]}",
                    _estimate(metrics["recall"].get(label)),
                    _estimate((_of(others, source.name, "recall") or {}).get(label)),
                ]
            )
            for label in LABELS
        ),
        "",
        "All models of the same RUN, same protocol:",
        "",
        _row(["model", "accuracy", "macro recall", "recall, active MI", "calibration error"]),
        _row(["---"] * 5),
        *(
            _row(
                [
                    name,
                    _estimate(entry.get("accuracy")),
                    _estimate(entry.get("macro_recall")),
                    _estimate(entry.get("recall", {}).get("myocardial_infarction")),
                    _estimate(entry.get("ece")),
                ]
            )
            for name, entry in others.items()
        ),
        "",
    ]


def _of(models: Mapping[str, Any], name: str, figure: str) -> Any:
    return models.get(name, {}).get(figure)


def _decision(decision: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Decision",
        "",
        f"- temperature {decision['temperature']:.3f}, folded into the weights",
        f"- `uncertain` below a confidence of {decision['min_confidence']:.2f}",
    ]
    for label, point in decision["operating_points"].items():
        text = f"- flag {LABEL_NAMES[label]} at {point['threshold']:.4f}"
        for figure in ("target_sensitivity", "sensitivity", "specificity"):
            if point.get(figure) is not None:
                text += f"; {figure.replace('_', ' ')} {_estimate(point[figure])}"
        lines.append(text)
    for coverage, q in decision.get("conformal", {}).items():
        lines.append(f"- prediction set at {coverage}: every class with p >= {1 - q:.3f}")
    return [*lines, ""]


def _parity(judged: Judged) -> list[str]:
    lines = ["## From workshop to device", ""]
    for result in judged.engines:
        kept = sum(rung.passed for rung in result.rungs)
        lines.append(
            f"- {result.engine} {result.version}: {kept} of {len(result.rungs)} gates kept"
        )
    for engine, reason in judged.refused_by.items():
        lines.append(f"- {engine} does not load this format ({reason})")
    return [*lines, "- every measured value and limit: parity.md", ""]


def _audit(audit: Mapping[str, Any] | None) -> list[str]:
    lines = ["## What leaks", ""]
    if audit is None:
        return [*lines, "No audit was handed to this export (`--audit DIR`).", ""]
    lines += [
        "How far the class can be guessed from what must not matter, from `python -m train audit`. "
        "A model that sees the whole page is to be judged against this.",
        "",
        _row(["probe", "sees", "split by", "accuracy", "macro recall"]),
        _row(["---"] * 5),
    ]
    for probe in audit["probes"]:
        scores = probe["scores"]
        lines.append(
            _row(
                [
                    probe["name"],
                    probe["sees"],
                    probe["split"],
                    _estimate(scores["accuracy"]),
                    _estimate(scores["macro_recall"]),
                ]
            )
        )
    return [*lines, ""]


def _failures(run: Run, metrics: Mapping[str, Any]) -> list[str]:
    """Name the commonest confusions and what happens to missed infarctions."""
    confusion = metrics["confusion"]
    pairs = [
        (confusion[a][b], a, b)
        for a in range(len(LABELS))
        for b in range(len(LABELS))
        if a != b and confusion[a][b]
    ]
    lines = [
        f"- {count} of {sum(confusion[a])} pages of {LABEL_NAMES[LABELS[a]]} are called "
        f"{LABEL_NAMES[LABELS[b]]}"
        for count, a, b in sorted(pairs, reverse=True)[:5]
    ]
    for label in CRITICAL_LABELS:
        c = LABELS.index(label)
        as_normal = confusion[c][LABELS.index("normal")]
        lines.append(f"- {LABEL_NAMES[label]} called normal: {as_normal} of {sum(confusion[c])}")
    return lines


def _estimate(value: Any) -> str:
    """Return a figure with its interval, whichever of the two spellings it has."""
    if value is None:
        return "-"
    if isinstance(value, (int, float)):
        return f"{value:.3f}"
    if value.get("value") is None:
        return "-"
    low, high = value["interval"] if "interval" in value else (value["low"], value["high"])
    return f"{value['value']:.3f} ({low:.3f}-{high:.3f})"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _flat(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (key, ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value)
        for key, value in values.items()
    ]
