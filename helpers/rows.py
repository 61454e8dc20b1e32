"""Equal scores in any cut: an event has the same bits alone, in a batch and in the whole table."""

from collections.abc import Callable

import numpy as np

AT_ONCE = 512  # a multiple of what any BLAS computes at once, so that nothing is treated as the rest


def in_blocks(function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    """What a function says of (n, k) rows, whichever way they are cut. BLAS adds up in another order where a
    matrix has another shape, so the function always gets 512 rows, the last ones filled up with zeros."""
    n, k = rows.shape
    blocks = np.zeros((max(-(-n // AT_ONCE), 1), AT_ONCE, k))
    blocks.reshape(-1, k)[:n] = rows
    return np.concatenate([function(block) for block in blocks])[:n]


def row_sums(x: np.ndarray) -> np.ndarray:
    """Sum each row of (n, k), column by column, which needs no blocks; `sum(axis=1)` would need them."""
    return sum(x.T)
