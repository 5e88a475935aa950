"""The convolutional network: a canonical page in, probabilities, evidence and features out.

The canonical page holds twelve cells (3 rows x 4 columns), one lead each. The first layer spans
the whole height of a cell, so it turns every column of a cell into a vector that knows the
voltage; all further layers run along time. Places of the last feature map get lead-specific
weights and their contributions simply add up to the logit, so the explanation is the model
itself and not an approximation of it.

Where the architecture asks for moved views of the page, their rows lie below each other from the
first layer on, so every weight is there once; the feature maps of all views are averaged before
they contribute. As contributions are linear in the features, the logits are the mean of what the
network without views says to each moved page (`train.predict.moved`).
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


def _views(x: Any, moved: tuple[int, ...]) -> Any:
    """[3, 4 T, C] -> [3 views, 4 T, C]: each cell moved right by some columns, view by view."""
    _, rows, width, channels = x.shape
    cells = _cells_as_rows(x, "cells_to_move")
    margin = max(abs(columns) for columns in moved)
    # XNNPACK pads inner axes slowly: with joined paper all of this takes a third less time.
    paper = _paper(cells, margin)
    x = layers.Concatenate(axis=2, name="between_paper")([paper, cells, paper])
    views = [
        layers.Cropping2D(((0, 0), (margin - columns, margin + columns)), name=f"view{index}")(x)
        for index, columns in enumerate(moved)
    ]
    x = layers.Concatenate(axis=1, name="views")(views) if len(views) > 1 else views[0]
    return layers.Reshape((rows * len(moved), width, channels), name="rows_of_views")(x)


def _paper(cells: Any, width: int) -> Any:
    """[12, T, C] -> [12, width, C] of zeros, which is paper, also where integers stand for it."""
    column = layers.Cropping2D(((0, 0), (0, cells.shape[2] - 1)), name="first_column")(cells)
    beside = layers.ZeroPadding2D(((0, 0), (0, width)), name="beside_paper")(column)
    return layers.Cropping2D(((0, 0), (1, 0)), name="paper")(beside)


def _trunk(x: Any, architecture: Architecture, height: int) -> Any:
    """Feature map [12 views, T, C] of a page [3 * height, width, 1]."""
    # The rows of a cell become the channels: a filter over one channel would make the engines pad
    # it to four or eight, and this way the first layer is a plain matrix product.
    x = layers.Reshape((ROWS, height, x.shape[2]), name="cells")(x)
    x = layers.Permute((1, 3, 2), name="columns_last")(x)
    if architecture.moved:
        x = _views(x, architecture.moved)
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


def _cells_as_rows(x: Any, name: str = "leads") -> Any:
    """[3 n, 4 T, C] -> [12 n, T, C]: every lead a row of its own. Memory order stays as it is."""
    _, rows, width, channels = x.shape
    return layers.Reshape((rows * COLUMNS, width // COLUMNS, channels), name=name)(x)


def _with_context(x: Any, units: int) -> Any:
    """Let all leads of a view amplify or damp its features (squeeze and excite, Hu et al. 2018)."""
    _, rows, places, channels = x.shape
    leads = ROWS * COLUMNS
    views = rows // leads
    summary = layers.AveragePooling2D((1, places), name="context_pool")(x)
    summary = layers.Reshape((views, leads * channels), name="context_flat")(summary)
    summary = layers.Dense(units, activation="relu", name="context_squeeze")(summary)
    gate = layers.Dense(channels, activation="sigmoid", name="context_excite")(summary)
    gate = layers.Reshape((views, 1, channels), name="context_gate")(gate)
    x = layers.Reshape((views, leads * places, channels), name="context_views")(x)
    x = layers.Multiply(name="context")([x, gate])
    return layers.Reshape((rows, places, channels), name="context_leads")(x)


def _mean_of_views(x: Any) -> Any:
    """[12 views, T, C] -> [12, T, C]."""
    rows, leads = x.shape[1], ROWS * COLUMNS
    views = [
        layers.Cropping2D(((first, rows - leads - first), (0, 0)), name=f"view{index}_leads")(x)
        for index, first in enumerate(range(0, rows, leads))
    ]
    return layers.Average(name="mean_of_views")(views)


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
        Sizes; its `Architecture.fitted` takes and gives the same weights.
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
    if len(architecture.moved) > 1:
        x = _mean_of_views(x)
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


def rebuilt(model: keras.Model, architecture: Architecture) -> keras.Model:
    """Return a network of an architecture with the weights and the temperature of ``model``."""
    temperature = 1.0 / model.get_layer("temperature").scale
    twin = build(architecture, tuple(model.input.shape[1:]), temperature)
    twin.set_weights(model.get_weights())
    return twin


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
