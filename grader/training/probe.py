"""Runs a rebuilt network on a few images, to see whether it does what its Plan says.

The facts of a network come from its graphs, and the graphs from a process in which a submission
ran. Two things they cannot prove: that results have the shapes the graphs state, and that what
stands on the path to the output changes it (`x * (batch_norm(x) > -1e30)` is not changed by its
batch norm). Both show when the network runs, here, where nothing of the submission does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import islice

import torch

from grader.datasets.mnist import Bytes
from grader.errors import SubmissionError
from grader.plan import schema
from grader.plan.facts import facts_of
from grader.plan.sizes import size_of
from grader.training.augment import augment
from grader.training.bench import DRAWS
from grader.training.draw import Draw
from grader.training.events import Misshapen, Mode, Probed
from grader.training.influence import LEAST, Laboratory
from grader.training.network import Network
from grader.training.observed import run

# Two batches, so that a fixed size cannot pass for a formula of B, nor the reverse. Multiples of
# four: a network may normalise a batch in parts.
_BATCHES = (8, 12)
_SHOWN = 20  # wrong shapes


def probe(
    model: schema.Model, taught: Collection[str], pictures: torch.Tensor | None = None
) -> Probed:
    """Run both graphs of a model on a few images and say what contradicts its description.

    `taught` names the tensors that the recipe changes: they may differ later, others may not.
    `pictures` are images as `pictures_of` makes them; without them they are random.
    Runs on one core, and leaves PyTorch's random numbers and threads as they were. Influence is
    not measured where shapes are wrong already: which layers count was worked out from them.
    """
    with _apart():
        try:
            if shapes := _misshapen(model):
                return Probed(misshapen=shapes)
            laboratory = Laboratory(model, taught, _BATCHES[0], pictures)
            influences = laboratory.influences(facts_of(model))
            dependence = laboratory.dependence()
        except SubmissionError as error:
            return Probed(failed=error.message)
    return Probed([], influences, dependence, independent=(dependence or 0.0) < LEAST)


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """Keep a run from what comes after it; for operations this small, threads are a hindrance."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)


def taught(recipe: schema.Recipe) -> set[str]:
    """Return the names of the tensors that the optimiser gets with a learning rate above zero."""
    groups = zip(recipe.optimizer.groups, recipe.schedule.lr, strict=False)
    return {name for group, lr in groups if any(lr) for name in group.parameters}


def pictures_of(plan: schema.Plan, images: Bytes, seed: int) -> torch.Tensor | None:
    """Choose some training images and prepare them as in testing: [N, *input_shape].

    None where the transforms do not fit; the training will say so.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(images), generator=generator)[: len(DRAWS) * _BATCHES[0]]
    pixels = torch.from_numpy(images[chosen.numpy()]).unsqueeze(1)
    draw = Draw(generator, torch.device("cpu"))
    with contextlib.suppress(SubmissionError):
        pictures = augment(pixels, plan.recipe.test_transform, draw)
        if list(pictures.shape[1:]) == plan.model.input_shape:
            return pictures
    return None


def _misshapen(model: schema.Model) -> list[Misshapen]:
    """List results whose shape or type is not the one the graph states."""
    state = Network(model, torch.Generator().manual_seed(0)).state
    found: dict[tuple[Mode, str], Misshapen] = {}

    def look(mode: Mode, batch: int, node: schema.Node, result: object) -> object:
        if not _agrees(node, result, batch):
            stated = _described(node.shape, node.dtype)
            wrong = Misshapen(node.name, mode, stated, _seen(result, batch), node.where)
            found.setdefault((mode, node.name), wrong)
        return result

    modes: list[tuple[Mode, schema.Graph]] = [("train", model.train), ("eval", model.eval)]
    for mode, graph in modes:
        for batch in _BATCHES:
            run(graph, state, torch.randn(batch, *model.input_shape), partial(look, mode, batch))
    return list(islice(found.values(), _SHOWN))


def _agrees(node: schema.Node, result: object, batch: int) -> bool:
    """Compare a result with its description; a size whose formula cannot be read may be any."""
    if node.shape is None or not isinstance(result, torch.Tensor):
        return node.shape is None and not isinstance(result, torch.Tensor)
    sizes = [size_of(dim, batch) for dim in node.shape]
    return (
        len(sizes) == result.dim()
        and all(s in (None, n) for s, n in zip(sizes, result.shape, strict=True))
        and node.dtype == str(result.dtype)
    )


def _seen(result: object, batch: int) -> str:
    if not isinstance(result, torch.Tensor):
        return _described(None, "")
    return f"{_described(result.shape, str(result.dtype))} for {batch} images"


def _described(shape: Sequence[int | str] | None, dtype: str) -> str:
    if shape is None:
        return "no tensor"
    return f"{'×'.join(map(str, shape)) or 'one number'} {dtype.removeprefix('torch.')}"
