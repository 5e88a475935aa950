"""The convolutional network: a canonical page in, probabilities, evidence and features out.

The canonical page holds twelve cells (3 rows x 4 columns), one lead each. The first layer spans
the whole height of a cell, so it turns every column of a cell into a vector that knows the
voltage; all further layers run along time. Places of the last feature map get lead-specific
weights and their contributions simply add up to the logit, so the explanation is the model
itself and not an approximation of it.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers

from runtime.labels import LABELS
from train.architecture import Architecture, Block

ROWS, COLUMNS = 3, 4
"""Cells of the canonical page: three rows of four leads (interface with runtime.preprocess)."""

BATCH_NORM_MOMENTUM = 0.9
"""Not Keras' 0.99: on a data set this small slow statistics collapse (design/evidence.md)."""


def _normalise(x: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=name)(x)


def _block(x: Any, block: Block, name: str) -> Any:
    """Depthwise-separable residual block; pointwise shortcut where the shape changes."""
    shortcut = x
    if block.stride > 1:
        shortcut = layers.MaxPooling2D((1, block.stride), name=f"{name}_pool")(shortcut)
    if block.channels != x.shape[-1]:
        shortcut = layers.Conv2D(block.channels, 1, use_bias=False, name=f"{name}_match")(shortcut)
        shortcut = _normalise(shortcut, f"{name}_match_bn")
    # A depthwise step in two directions must be square in TensorFlow: stride by the pointwise
    # convolution's place instead, i.e. pool first, then filter.
    x = layers.DepthwiseConv2D(
        (1, block.kernel), padding="same", use_bias=False, name=f"{name}_filter"
    )(x)
    x = _normalise(x, f"{name}_filter_bn")
    x = layers.ReLU(6.0, name=f"{name}_filter_relu")(x)
    if block.stride > 1:
        x = layers.MaxPooling2D((1, block.stride), name=f"{name}_filter_pool")(x)
    x = layers.Conv2D(block.channels, 1, use_bias=False, name=f"{name}_mix")(x)
    x = _normalise(x, f"{name}_mix_bn")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(6.0, name=f"{name}_relu")(x)


def _trunk(x: Any, architecture: Architecture, height: int) -> Any:
    """Feature map [12, T, C] of a page [3 * height, width, 1]."""
    # The rows of a cell become the channels: a filter over one channel would make the engines pad
    # it to four or eight, and this way the first layer is a plain matrix product.
    x = layers.Reshape((ROWS, height, x.shape[2]), name="cells")(x)
    x = layers.Permute((1, 3, 2), name="columns_last")(x)
    x = layers.Conv2D(
        architecture.column_channels,
        (1, architecture.column_kernel),
        strides=(1, architecture.column_stride),
        padding="same",
        use_bias=False,
        name="columns",
    )(x)
    x = _normalise(x, "columns_bn")
    x = layers.ReLU(6.0, name="columns_relu")(x)
    if architecture.separate_leads:
        x = _cells_as_rows(x)
    for index, block in enumerate(architecture.blocks):
        x = _block(x, block, f"block{index}")
    return x if architecture.separate_leads else _cells_as_rows(x)


def _cells_as_rows(x: Any) -> Any:
    """[3, 4 T, C] -> [12, T, C]: every lead a row of its own. Memory order stays as it is."""
    _, rows, width, channels = x.shape
    return layers.Reshape((rows * COLUMNS, width // COLUMNS, channels), name="leads")(x)


def _with_context(x: Any, units: int) -> Any:
    """Let all leads together amplify or damp features (squeeze and excite, Hu et al. 2018)."""
    _, leads, places, channels = x.shape
    summary = layers.AveragePooling2D((1, places), name="context_pool")(x)
    summary = layers.Reshape((leads * channels,), name="context_flat")(summary)
    summary = layers.Dense(units, activation="relu", name="context_squeeze")(summary)
    gate = layers.Dense(channels, activation="sigmoid", name="context_excite")(summary)
    gate = layers.Reshape((1, 1, channels), name="context_gate")(gate)
    return layers.Multiply(name="context")([x, gate])


def _contributions(x: Any, classes: int) -> Any:
    """Contribution [12, T, classes] of every place, each lead with weights of its own."""
    leads = x.shape[1]
    rows = []
    for lead in range(leads):
        crop = ((lead, leads - 1 - lead), (0, 0))
        row = layers.Cropping2D(crop, name=f"lead{lead}")(x)
        rows.append(layers.Conv2D(classes, 1, use_bias=False, name=f"weights{lead}")(row))
    return layers.Concatenate(axis=1, name="contributions")(rows)


def _logits(contributions: Any, classes: int) -> Any:
    """Mean contribution plus a bias a class."""
    x = layers.GlobalAveragePooling2D(keepdims=True, name="sum")(contributions)
    # The only plain layer that adds a trainable bias; its factor is held at exactly one.
    x = layers.DepthwiseConv2D(
        1,
        depthwise_initializer="ones",
        depthwise_constraint=keras.constraints.UnitNorm(axis=(0, 1)),
        name="bias",
    )(x)
    return layers.Reshape((classes,), name="logits")(x)


def build(
    architecture: Architecture,
    shape: tuple[int, int, int] = (192, 512, 1),
    temperature: float = 1.0,
) -> keras.Model:
    """Build the network with its three named outputs.

    Parameters
    ----------
    architecture
        Sizes.
    shape
        Height, width and channels of the canonical page.
    temperature
        Divisor of the logits before the softmax, fitted on out-of-fold predictions.

    Returns
    -------
    keras.Model
        Input ``page`` [n, 192, 512, 1]; outputs ``probabilities`` [n, 5], ``evidence``
        [n, 3, 4 T, 5] (summed over its places and added to the bias it is the logit) and
        ``features`` [n, C].
    """
    classes = len(LABELS)
    page = keras.Input(shape, name="page")
    x = _trunk(page, architecture, shape[0] // ROWS)
    if architecture.context:
        x = _with_context(x, architecture.context)
    features = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.SpatialDropout2D(architecture.dropout, name="dropout")(x)
    contributions = _contributions(x, classes)
    _, leads, places, _ = contributions.shape
    grid = layers.Reshape((ROWS, COLUMNS * places, classes), name="grid")(contributions)
    evidence = layers.Rescaling(1.0 / (leads * places), name="evidence")(grid)
    scaled = layers.Rescaling(1.0 / temperature, name="temperature")(
        _logits(contributions, classes)
    )
    probabilities = layers.Softmax(name="probabilities")(scaled)
    outputs = {"probabilities": probabilities, "evidence": evidence, "features": features}
    return keras.Model(page, outputs, name=f"ecg_{architecture.name}")


def logits_model(model: keras.Model) -> keras.Model:
    """Return the model whose only output are the logits; it shares all weights."""
    return keras.Model(model.input, model.get_layer("logits").output, name="logits_model")


def multiply_accumulates(model: keras.Model) -> int:
    """Count the multiplications of one prediction (convolutions and dense layers)."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, layers.DepthwiseConv2D):
            kernel, out = layer.kernel.shape, layer.output.shape
            total += out[1] * out[2] * out[3] * kernel[0] * kernel[1]
        elif isinstance(layer, layers.Conv2D):
            kernel, out = layer.kernel.shape, layer.output.shape
            total += out[1] * out[2] * out[3] * kernel[0] * kernel[1] * kernel[2]
        elif isinstance(layer, layers.Dense):
            total += layer.kernel.shape[0] * math.prod(layer.output.shape[1:])
    return int(total)
