"""In which ways images may lie: a network is symmetric if turned weights undo what is turned.

Where every kernel that is learned is turned as the images are, and the scores stay, the network
learns turned images as well as the others. What is tied to a place, or to a direction, gives
other scores: rows that are read in order, padding on one side, kernels that are longer than wide.
"""

from __future__ import annotations

import torch

from grader.datasets.mask import TURNS
from grader.errors import SubmissionError
from grader.measure.laboratory import LEAST, Draw, Laboratory, distance, spread
from grader.training.turned import turned

_GENERATE = (1, 2, 4)  # of these every other one is made
_SEEDS = (1, 2)  # always the same, so that a mask follows from salt, plan and run alone


def symmetries(laboratory: Laboratory) -> tuple[int, ...]:
    """Return the turns (`grader.datasets.mask`) after which the network is the same one."""
    first = [turn for turn in _GENERATE if _is_same(laboratory, turn)]
    if len(first) == len(_GENERATE):
        return tuple(TURNS)
    rest = [turn for turn in TURNS if turn not in (0, *_GENERATE) and _is_same(laboratory, turn)]
    return tuple(sorted([0, *first, *rest]))


def _is_same(laboratory: Laboratory, turn: int) -> bool:
    for seed in _SEEDS:
        draw = laboratory.drawn(seed, _noise(laboratory, seed))
        try:
            other = _turned(laboratory, draw, turn)
            for mode in ("eval", "frozen"):
                usual, scores = (laboratory.scores(mode, each) for each in (draw, other))
                gap = distance(usual, scores, otherwise=float("inf"))
                if gap > LEAST * (spread(usual) or 0.0):
                    return False
        except SubmissionError:  # kernels, or images, that do not fit when they are transposed
            return False
    return True


def _noise(laboratory: Laboratory, seed: int) -> torch.Tensor:
    """Return images of noise alone: the borders of digits look all the same."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(laboratory.batch, *laboratory.model.input_shape, generator=generator)


def _turned(laboratory: Laboratory, draw: Draw, turn: int) -> Draw:
    """Return the draw with images and learned kernels turned."""
    state = dict(draw.state)
    for name in laboratory.learning:
        if state[name].dim() == 4:
            state[name] = _fitting(state[name], turn)
    images = _fitting(draw.images, turn)
    return laboratory.with_images(laboratory.with_state(draw, state), images)


def _fitting(tensor: torch.Tensor, turn: int) -> torch.Tensor:
    after = turned(tensor, turn)
    if after.shape != tensor.shape:
        raise SubmissionError("It is not square.")
    return after
