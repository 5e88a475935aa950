"""The columns of the Parquet data set: the record of ``classify``, flattened, one row a page."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from runtime import __version__
from runtime.archive.held import KEY_BYTES, key_of
from runtime.archive.source import PageFile
from runtime.labels import LABELS
from runtime.prediction import Prediction

__all__ = ["ROW_SCHEMA", "answer_of", "parquet_bytes", "row_of"]

_STAGES: Final = ("decode", "preprocess", "infer", "total")

ROW_SCHEMA: Final = pa.schema(
    [
        ("source", pa.string()),
        ("page", pa.int32()),
        ("sha256", pa.string()),
        ("status", pa.string()),
        ("label", pa.string()),
        ("confidence", pa.float64()),
        *((f"p_{label}", pa.float64()) for label in LABELS),
        ("flags", pa.list_(pa.string())),
        ("reasons", pa.list_(pa.string())),
        ("layout", pa.string()),
        ("px_per_mm", pa.float32()),
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("model_name", pa.string()),
        ("model_version", pa.string()),
        ("model_sha256", pa.string()),
        ("engine", pa.string()),
        ("precision", pa.string()),
        *((f"{stage}_ms", pa.float32()) for stage in _STAGES),
        ("record", pa.string()),
        ("site", pa.string()),
        ("bytes", pa.int64()),
        ("modified", pa.timestamp("us", tz="UTC")),
        ("stamp", pa.string()),
        ("key", pa.binary(KEY_BYTES)),
    ],
    metadata={"ecg_edge_version": __version__, "record_schema": "ecg-edge/result/1"},
)
"""Page size in px of the original, px_per_mm of the original, `record` = the JSON of ``classify``,
`stamp` and `key` for resuming; the rest as in the record."""


def answer_of(prediction: Prediction) -> dict[str, Any]:
    """Return the columns that come from the answer, ready for JSON and for Parquet."""
    record = prediction.to_record()
    p = record["probabilities"] or {}
    model, timing = record["model"], record["timing_ms"]
    row = {
        key: record[key]
        for key in ("source", "page", "sha256", "status", "label", "confidence", "flags", "reasons")
    }
    row |= {f"p_{label}": p.get(label) for label in LABELS}
    row |= {"layout": record.get("layout"), "record": json.dumps(record)}
    row |= {f"model_{key}": model[key] for key in ("name", "version", "sha256")}
    row |= {"engine": model["engine"], "precision": model["precision"]}
    row |= {f"{stage}_ms": timing.get(stage) for stage in _STAGES}
    return row | _picture(prediction)


def _picture(prediction: Prediction) -> dict[str, Any]:
    picture = prediction.picture
    width, height = picture.size if picture is not None else (None, None)
    px_per_mm = picture.px_per_mm if picture is not None else None
    return {
        "px_per_mm": None if px_per_mm is None else float(px_per_mm),
        "format": None if picture is None else picture.format,
        "width": width,
        "height": height,
    }


def row_of(answer: Mapping[str, Any], file: PageFile) -> dict[str, Any]:
    """Return the whole row: the answer and where the page came from."""
    modified = file.modified
    return {
        **answer,
        "site": file.site,
        "bytes": file.size,
        "modified": None if modified is None else datetime.fromtimestamp(modified, UTC),
        "stamp": file.stamp,
        "key": key_of(file.source),
    }


def parquet_bytes(rows: Sequence[Mapping[str, Any]] | pa.Table) -> bytes:
    """Return a Parquet file of the rows."""
    table = rows if isinstance(rows, pa.Table) else _table(rows)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    # File names need not be valid text; Parquet's strings must be.
    clean = [{key: _text(value) for key, value in row.items()} for row in rows]
    return pa.Table.from_pylist(clean, schema=ROW_SCHEMA)


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return value
