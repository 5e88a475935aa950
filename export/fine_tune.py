"""Fine-tunes a network so that its integer version answers as the float one does.

Quantisation-aware training without extra packages (tensorflow-model-optimization has no Keras 3):
a copy of the network sees its weights, and what its activations leave, rounded to integers as
TFLite and ONNX Runtime will round them, and learns for a few passes to give the float network's
own probabilities back (distillation; no label is read). Gradients pass the rounding unchanged
(straight-through estimator; Bengio, Leonard and Courville 2013, arXiv:1308.3432).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from export.rounding import rounding_twin

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fine_tuned"]

EPOCHS: Final = 3
BATCH: Final = 32
LEARNING_RATE: Final = 1e-4
"""A tenth of what usually trains such a network: it shall move by fractions of a step."""

LEVELS: Final = 255


def fine_tuned(model: Any, tensors: NDArray[np.uint8], pages: list[int], seed: int = 0) -> Any:
    """Return a copy of the network whose weights stand integer rounding better.

    Parameters
    ----------
    model : keras.Model
        With named outputs; its ``probabilities`` are what the copy learns.
    tensors : ndarray of uint8, shape [n, H, W]
    pages : list of int
        Pages it was trained on; held-out ones must not be among them.
    seed : int
        Of the order of the pages.
    """
    twin = rounding_twin(model)
    # Statistics of so few passes would wreck the estimates of the whole training.
    for layer in twin.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(twin.trainable_variables)

    @tf.function
    def step(batch: Any, wanted: Any) -> None:
        with tf.GradientTape() as tape:
            given = twin(batch, training=False)["probabilities"]
            loss = tf.reduce_mean(
                tf.reduce_sum(wanted * (tf.math.log(wanted + 1e-7) - tf.math.log(given + 1e-7)), 1)
            )
        gradients = tape.gradient(loss, twin.trainable_variables)
        pairs = [
            (gradient, variable)
            for gradient, variable in zip(gradients, twin.trainable_variables, strict=True)
            if gradient is not None
        ]
        optimizer.apply_gradients(pairs)

    rng = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        order = rng.permutation(pages)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            batch = (tensors[chosen].astype(np.float32) / np.float32(LEVELS))[..., None]
            step(batch, model(batch, training=False)["probabilities"])
    tuned = keras.models.clone_model(model)
    tuned.set_weights(twin.get_weights())
    return tuned
