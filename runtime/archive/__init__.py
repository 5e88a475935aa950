"""Scores an archive of pages on many cores or a cluster: the same model and the same record.

The extra ``archive`` (dask.distributed, fsspec, pyarrow) is needed by every module in here, and by
nothing outside.
"""

from __future__ import annotations
