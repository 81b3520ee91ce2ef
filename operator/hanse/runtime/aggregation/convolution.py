"""The vision app's convolutions in numpy, for predictions without torch; called by `predict`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.aggregation.arrays import Arrays

Floats = NDArray[np.float32]


def as_pixels(images: NDArray[Any], size: int) -> Floats:
    """[n, h, w], [n, h, w, c] or [n, c, h, w] as float32 [n, c, h, w] in 0..1 (whole numbers are 0..255).

    `size` tells height and width from channels. Raises ValueError for anything else. Also used by `apps.images`.
    """
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1:3] == (size, size):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.dtype.kind not in "uif":
        raise ValueError("the images are not an array of numbers with 3 or 4 dimensions")
    return images.astype(np.float32) / np.float32(255 if images.dtype.kind in "ui" else 1)


def features(arrays: Arrays, pixels: Floats, *, groups: int, batch: int = 256) -> Floats:
    """conv, group norm, ReLU, pool (as many as there are), flattened: [n, c, h, w] -> [n, hidden]."""
    stages = sum(1 for name in arrays if name.startswith("conv") and name.endswith(".weight"))
    parts = []
    for start in range(0, len(pixels), batch):
        part = pixels[start : start + batch]
        for stage in range(stages):
            part = convolve(part, arrays[f"conv{stage}.weight"], arrays[f"conv{stage}.bias"])
            part = group_norm(part, groups, arrays[f"norm{stage}.weight"], arrays[f"norm{stage}.bias"])
            part = max_pool(np.maximum(part, 0))
        parts.append(part.reshape(len(part), -1))
    return np.concatenate(parts)


def convolve(values: Floats, weight: Floats, bias: Floats) -> Floats:
    """As `torch.nn.Conv2d` with stride 1 and zero padding that keeps the size."""
    margin = weight.shape[-1] // 2
    padded = np.pad(values, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
    result = np.tensordot(windows, weight, axes=((1, 4, 5), (1, 2, 3)))
    return np.asarray(result.transpose(0, 3, 1, 2) + bias[:, None, None])


def group_norm(values: Floats, groups: int, weight: Floats, bias: Floats, epsilon: float = 1e-5) -> Floats:
    """As `torch.nn.GroupNorm`."""
    grouped = values.reshape(len(values), groups, -1)
    centred = grouped - grouped.mean(axis=2, keepdims=True)
    scaled = centred / np.sqrt(np.square(centred).mean(axis=2, keepdims=True) + np.float32(epsilon))
    return np.asarray(scaled.reshape(values.shape) * weight[:, None, None] + bias[:, None, None])


def max_pool(values: Floats) -> Floats:
    """As `torch.nn.MaxPool2d(2)`."""
    n, channels, height, width = values.shape
    whole = values[:, :, : height // 2 * 2, : width // 2 * 2]
    return np.asarray(whole.reshape(n, channels, height // 2, 2, width // 2, 2).max(axis=(3, 5)))
