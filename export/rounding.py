"""Layers that round their weights as TFLite and ONNX Runtime will, to see what rounding does."""

from __future__ import annotations

from typing import Any, Final

import keras
import tensorflow as tf
from keras import layers

__all__ = ["rounded_kernel", "rounding_twin"]

STEPS: Final = 127
"""Integers on either side of zero of a signed 8-bit weight."""


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


def rounding_twin(model: Any) -> Any:
    """Return a copy of a network that rounds its weights and what its ReLU6 layers leave."""
    twin = keras.models.clone_model(model, clone_function=_rounding)
    twin.set_weights(model.get_weights())
    return twin


def _rounding(layer: Any) -> Any:
    """Return the rounding twin of a layer, or an ordinary copy where it has none."""
    kind: Any = _ROUNDED.get(type(layer), type(layer))
    if type(layer) is layers.ReLU and layer.get_config().get("max_value") == 6.0:
        kind = _ReLU6
    return kind.from_config(layer.get_config())
