"""The sizes of the networks, apart from `train.cnn` so that reading them loads no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """One residual block along time.

    Parameters
    ----------
    channels
        Output channels.
    kernel
        Width of the temporal filter, in columns of its input.
    stride
        Step along time.
    """

    channels: int
    kernel: int
    stride: int


@dataclass(frozen=True)
class Architecture:
    """What a network looks like; the numbers in a name's place.

    Parameters
    ----------
    name
        Name of the bundle it becomes, without the ``ecg-`` in front.
    column_channels
        Channels of the first layer, which reads whole columns of a cell.
    column_kernel, column_stride
        Width and step of the first layer, in columns.
    blocks
        The trunk along time.
    separate_leads
        Whether the trunk treats every cell apart (no filter crosses from one lead to the next)
        or runs along the whole row, seeing its rhythm over 10 s.
    context
        Units of the layer that lets all leads together amplify or damp features; 0: none.
    dropout
        Share of the features dropped while training.
    """

    name: str
    column_channels: int
    column_kernel: int
    column_stride: int
    blocks: tuple[Block, ...]
    separate_leads: bool = False
    context: int = 0
    dropout: float = 0.3


ARCHITECTURES = {
    "tiny": Architecture(
        "tiny",
        64,
        5,
        2,
        (Block(64, 7, 1), Block(96, 7, 2), Block(128, 7, 2), Block(128, 7, 2)),
        context=32,
    ),
    "accurate": Architecture(
        "accurate",
        48,
        5,
        1,
        (Block(64, 9, 2), Block(96, 9, 1), Block(128, 9, 2), Block(192, 7, 2), Block(256, 5, 1)),
    ),
}
