"""Takes out of a network the shift that rounding its weights to integers would put in.

A weight rounded down makes its channel a little smaller on every page: an error that no average
takes away and that the next layers pass on. Its mean is known beforehand from the calibration
pages and goes into the biases with the sign turned, layer after layer (Nagel, van Baalen,
Blankevoort and Welling 2019, arXiv:1906.04721, section 4.2, with measured means).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
from keras import layers

from export.rounding import rounding_twin

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["bias_corrected"]

BATCH: Final = 50
"""Pages a step."""

BIAS: Final = 1
"""Place of the bias among the weights of a convolution or dense layer, of beta in BatchNorm's."""


def bias_corrected(model: Any, samples: NDArray[np.float32]) -> Any:
    """Return a copy of the network whose biases make up for its weights' rounding.

    Parameters
    ----------
    model : keras.Model
        Functional, trained.
    samples : ndarray of float32, shape [m, H, W, 1]
        Calibration pages.
    """
    corrected = keras.models.clone_model(model)
    corrected.set_weights(model.get_weights())
    twin = rounding_twin(model)
    # Keras lists layers so that each comes after what it reads: the shift that is measured at one
    # is what its own weights add, those before being corrected already.
    for layer in model.layers:
        if _has_bias(layer):
            shift = _mean_output(model, layer.name, samples) - _mean_output(
                twin, layer.name, samples
            )
            _add_to_bias(corrected.get_layer(layer.name), shift)
            _add_to_bias(twin.get_layer(layer.name), shift)
    return corrected


def _has_bias(layer: Any) -> bool:
    if isinstance(layer, layers.BatchNormalization):
        return bool(layer.center and layer.scale)
    kinds = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
    return isinstance(layer, kinds) and layer.use_bias


def _mean_output(model: Any, name: str, samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean of a layer's output over pages and places, float [C]."""
    part = keras.Model(model.input, model.get_layer(name).output)
    total: Any = 0.0
    for start in range(0, len(samples), BATCH):
        output = np.asarray(part(samples[start : start + BATCH], training=False), np.float64)
        total = total + output.reshape(-1, output.shape[-1]).sum(axis=0)
    return np.asarray(total / (len(samples) * np.prod(output.shape[1:-1])))


def _add_to_bias(layer: Any, shift: NDArray[np.float64]) -> None:
    weights = layer.get_weights()
    weights[BIAS] = weights[BIAS] + shift.astype(np.float32)
    layer.set_weights(weights)
