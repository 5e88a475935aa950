"""Rewrites a network into one that computes the same and stands integers better.

A residual sum of two 1x1 convolutions is one 1x1 convolution of both inputs side by side:
``A a + B b = [A B] [a; b]``. Written apart, each product is rounded to 1/256 of a range several
times wider than what ReLU6 leaves of the sum; written as one, nothing is rounded before the ReLU6.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import Model, layers

__all__ = ["residual_sums_merged"]


def residual_sums_merged(model: Any) -> Any:
    """Return a network with the same outputs whose residual sums are single convolutions.

    Parameters
    ----------
    model : keras.Model
        Functional, one input, named outputs. Dropout and other layers that only train are copied
        as they are: the result is for inference.

    Returns
    -------
    keras.Model
        Weights are its own; sums that are no pair of feature maps stay sums.
    """
    return _Rewriting(model).run()


class _Rewriting:
    """Walks a network from its outputs back to its input and builds it anew."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._makers = {
            id(layer.output): layer
            for layer in model.layers
            if not isinstance(layer, layers.InputLayer)
        }
        self._made = {id(model.input): model.input}

    def run(self) -> Any:
        outputs = {name: self._tensor(value) for name, value in self._model.output.items()}
        return Model(self._model.input, outputs, name=self._model.name)

    def _tensor(self, old: Any) -> Any:
        """Return what stands for a tensor of the old network in the new one."""
        if id(old) not in self._made:
            layer = self._makers[id(old)]
            inputs = layer.input if isinstance(layer.input, list) else [layer.input]
            if isinstance(layer, layers.Add) and all(len(x.shape) == 4 for x in inputs):
                self._made[id(old)] = self._merged(layer, inputs)
            else:
                self._made[id(old)] = self._copied(layer, inputs)
        return self._made[id(old)]

    def _copied(self, layer: Any, inputs: list[Any]) -> Any:
        twin = layer.__class__.from_config(layer.get_config())
        new = [self._tensor(x) for x in inputs]
        output = twin(new if isinstance(layer.input, list) else new[0])
        twin.set_weights(layer.get_weights())
        return output

    def _merged(self, layer: Any, inputs: list[Any]) -> Any:
        terms = [self._term(x) for x in inputs]
        stacked = layers.Concatenate(name=f"{layer.name}_side_by_side")([t[0] for t in terms])
        convolution = layers.Conv2D(inputs[0].shape[-1], 1, name=layer.name)
        output = convolution(stacked)
        kernel = np.concatenate([t[1] for t in terms], axis=2)
        convolution.set_weights([kernel, np.sum([t[2] for t in terms], axis=0)])
        return output

    def _term(self, x: Any) -> tuple[Any, Any, Any]:
        """Return input, kernel [1, 1, in, out] and bias [out] of one term of a sum.

        A term that is no 1x1 convolution with BatchNorm enters through the identity.
        """
        normal = self._makers.get(id(x))
        if isinstance(normal, layers.BatchNormalization):
            maker = self._makers.get(id(normal.input))
            if maker is not None and type(maker) is layers.Conv2D and _is_pointwise(maker):
                gamma, beta, mean, variance = (np.asarray(w) for w in normal.get_weights())
                factor = gamma / np.sqrt(variance + normal.epsilon)
                kernel = np.asarray(maker.get_weights()[0]) * factor
                return self._tensor(maker.input), kernel, beta - mean * factor
        channels = x.shape[-1]
        identity = np.eye(channels, dtype=np.float32)[None, None]
        return self._tensor(x), identity, np.zeros(channels, np.float32)


def _is_pointwise(layer: Any) -> bool:
    """Tell whether a convolution is 1x1, of stride 1, without bias and activation."""
    linear = layer.activation is None or layer.activation.__name__ == "linear"
    return layer.kernel_size == (1, 1) and layer.strides == (1, 1) and not layer.use_bias and linear
