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

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fine_tuned", "rounded_kernel"]

EPOCHS: Final = 3
BATCH: Final = 32
LEARNING_RATE: Final = 1e-4
"""A tenth of what usually trains such a network: it shall move by fractions of a step."""

STEPS: Final = 127
"""Integers on either side of zero of a signed 8-bit weight."""

LEVELS: Final = 255


def rounded_kernel(kernel: Any, axes: tuple[int, ...]) -> Any:
    """Round a kernel to signed 8-bit steps, one scale a channel; gradients pass unchanged.

    BatchNorm is folded into the kernels when they are converted. That multiplies each channel by
    a number of its own and so changes its scale, but not which step a weight is rounded to.

    Parameters
    ----------
    kernel : tensor
    axes : tuple of int
        All axes but the channel's.
    """
    largest = tf.reduce_max(tf.abs(kernel), axis=axes, keepdims=True)
    scale = tf.maximum(largest, 1e-12) / STEPS
    return kernel + tf.stop_gradient(tf.round(kernel / scale) * scale - kernel)


def _rounded_activation(x: Any, low: float, high: float) -> Any:
    return tf.quantization.fake_quant_with_min_max_args(x, min=low, max=high, num_bits=8)


class _Conv2D(layers.Conv2D):
    """Convolution with a rounded kernel."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        return super().convolution_op(inputs, rounded_kernel(kernel, (0, 1, 2)))


class _DepthwiseConv2D(layers.DepthwiseConv2D):
    """Depthwise convolution with a rounded kernel."""

    def call(self, inputs: Any) -> Any:
        outputs = keras.ops.depthwise_conv(
            inputs,
            rounded_kernel(tf.convert_to_tensor(self.kernel), (0, 1)),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        if self.use_bias:
            outputs = keras.ops.add(outputs, self.bias)
        return self.activation(outputs) if self.activation is not None else outputs


class _Dense(layers.Dense):
    """Dense layer with a rounded kernel."""

    def call(self, inputs: Any, training: Any = None) -> Any:
        kernel = rounded_kernel(tf.convert_to_tensor(self.kernel), (0,))
        outputs = keras.ops.matmul(inputs, kernel)
        if self.use_bias:
            outputs = keras.ops.add(outputs, self.bias)
        return self.activation(outputs) if self.activation is not None else outputs


class _ReLU6(layers.ReLU):
    """ReLU6 whose output is rounded to 1/255 of 0..6, the range that conversion finds as well."""

    def call(self, inputs: Any) -> Any:
        return _rounded_activation(super().call(inputs), 0.0, 6.0)


_ROUNDED: Final = {
    layers.Conv2D: _Conv2D,
    layers.DepthwiseConv2D: _DepthwiseConv2D,
    layers.Dense: _Dense,
}


def _rounding(layer: Any) -> Any:
    """Return the rounding twin of a layer, or an ordinary copy where it has none."""
    kind: Any = _ROUNDED.get(type(layer), type(layer))
    if type(layer) is layers.ReLU and layer.get_config().get("max_value") == 6.0:
        kind = _ReLU6
    return kind.from_config(layer.get_config())


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
    twin = keras.models.clone_model(model, clone_function=_rounding)
    twin.set_weights(model.get_weights())
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
