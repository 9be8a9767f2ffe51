"""Winnowing: a few hashes of a file that any longer passage it shares with another has in common.

As by Schleimer, Wilkerson and Aiken (2003), with the sizes that Dolos takes: of every WINDOW
neighbouring runs of K tokens the one with the least hash. Two files that share K + WINDOW - 1 = 39
tokens share a fingerprint.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
K = 23  # tokens
WINDOW = 17  # runs of K tokens
_BASE = np.uint64(0x9E3779B97F4A7C15)


def grams(codes: Hashes) -> Hashes:
    """Return the hash of each run of K tokens; the run begins at the token of the same index."""
    count = max(len(codes) - K + 1, 0)
    hashes = np.zeros(count, np.uint64)
    for at in range(K):
        hashes = hashes * _BASE + _mixed(codes[at : at + count])
    return _mixed(hashes)


def winnow(hashes: Hashes) -> NDArray[np.int64]:
    """Return the places of those hashes that are the fingerprints, in order."""
    if not len(hashes):
        return np.zeros(0, np.int64)
    windows = sliding_window_view(hashes, min(WINDOW, len(hashes)))
    width = windows.shape[1]
    last = width - 1 - np.argmin(windows[:, ::-1], axis=1)  # the last one where several are least
    return np.unique(np.arange(len(windows)) + last)


def _mixed(values: Hashes) -> Hashes:
    """Spread numbers over all bits, so that the least one is any."""
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    return values ^ (values >> np.uint64(29))
