"""The loss of a fit: how far answers are from the labels, and from each other on two readings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def agreeing_loss(agreement: float, label_smoothing: float, readings: int) -> Callable[..., Any]:
    """Return a Keras loss over the logits of a batch, one value an example and reading.

    The cross-entropy with the smoothed target, and, of two readings of one heart, `agreement` times
    the symmetric Kullback-Leibler divergence of the two answers. A target of zeros asks
    for agreement alone.

    Parameters
    ----------
    agreement
        Weight of the divergence.
    label_smoothing
        Share of the target spread over all classes.
    readings
        1, or 2: then the second half of a batch is the first half as read elsewhere.
    """
    import tensorflow as tf

    def loss(targets: Any, logits: Any) -> Any:
        classes = tf.cast(tf.shape(logits)[1], logits.dtype)
        told = tf.reduce_sum(targets, axis=1, keepdims=True)
        smooth = targets * (1 - label_smoothing) + told * label_smoothing / classes
        log_p = tf.nn.log_softmax(logits)
        value = -tf.reduce_sum(smooth * log_p, axis=1)
        if readings == 2 and agreement:
            one, other = tf.split(log_p, 2)
            apart = tf.reduce_sum((tf.exp(one) - tf.exp(other)) * (one - other), axis=1) / 2
            value += agreement * tf.concat([apart, apart], axis=0)
        return value

    return loss


def told_accuracy(targets: Any, logits: Any) -> Any:
    """Return a Keras metric: share of right answers among the examples that have a class."""
    import tensorflow as tf

    told = tf.reduce_sum(targets, axis=1)
    right = tf.cast(tf.argmax(targets, 1) == tf.argmax(logits, 1), logits.dtype) * told
    return right / tf.maximum(tf.reduce_mean(told), 1e-6)
