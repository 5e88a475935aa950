"""Puts a model on every worker of a cluster, those that join later as well."""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin

from runtime import __version__
from runtime.archive.model import PackedModel, install
from runtime.errors import UsageError

__all__ = ["ModelPlugin"]


class ModelPlugin(WorkerPlugin):
    """Gives every worker the model before its first page, those that join later as well."""

    def __init__(self, model: PackedModel) -> None:
        self.name = f"ecg-edge-{model.key}"
        self._model = model
        self._version = __version__

    def setup(self, worker: Any) -> None:
        """Install the model; called by dask on the worker.

        Raises
        ------
        UsageError
            If the worker has another version of ecg-edge, whose answers could differ.
        """
        if self._version != __version__:
            raise UsageError(
                f"the worker {worker.address} has ecg-edge {__version__}, "
                f"this computer {self._version}",
                "install the same release on both",
            )
        install(self._model)
