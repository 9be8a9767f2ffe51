"""All that is measured of a network, added to what its Plan says by itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

import msgspec
import torch

from grader.datasets.files import Bytes
from grader.datasets.known import MNIST
from grader.errors import SubmissionError
from grader.measure.batch_norm import batch_norms
from grader.measure.bench import Bench
from grader.measure.dropout import dropouts
from grader.measure.independence import MANY, mixings
from grader.measure.laboratory import DRAWS
from grader.measure.learning import Learning, learning
from grader.measure.pooling import poolings
from grader.measure.same import difference
from grader.measure.shapes import misshapen
from grader.measure.symmetry import symmetries
from grader.measure.table import layers
from grader.plan import schema
from grader.plan.assemble import steps_per_epoch
from grader.plan.drawing import Drawing
from grader.plan.facts import facts_of
from grader.plan.findings import Facts, Output
from grader.training.augment import augment
from grader.training.draw import Draw
from grader.training.loop import as_maps
from grader.training.network import OPERATION_ERRORS

_MOST = 2_048  # images of one batch that are looked at, where a recipe's batches are larger


def measure(
    plan: schema.Plan, images: Bytes, seed: int | None = None, samples: int = MNIST.train
) -> Facts:
    """Return the facts of a network, measured on some of the `images` to train on.

    There are `samples` of them in all; `images` [N, size, size] may be fewer.

    Which images, weights and random numbers those are follows from `seed`; nobody knows it before
    unless it is given. Where something speaks against the network it is measured again with others,
    and what two say counts: nobody fails by one draw. A network that cannot be run has no findings,
    and its facts say why.
    """
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    first = measure_once(plan, images, seed, samples)
    if all(outcome(first)):
        return first
    second = measure_once(plan, images, seed + 1, samples)
    if outcome(second) == outcome(first):
        return first
    third = measure_once(plan, images, seed + 2, samples)
    return max((first, second, third), key=lambda facts: _shared(facts, (first, second, third)))


def outcome(facts: Facts) -> tuple[bool, ...]:
    """Return what the checks ask of the facts, each true where it speaks for the network."""
    found = (facts.batch_norm, facts.dropout, facts.global_average_pooling)
    return (
        *(any(finding.counts for finding in findings) for findings in found),
        facts.same_network, facts.batch_independent, not facts.contradictions,
    )  # fmt: skip


def _shared(facts: Facts, all_of: Sequence[Facts]) -> int:
    """Count the answers that others give too."""
    pairs = (zip(outcome(facts), outcome(other), strict=True) for other in all_of)
    return sum(mine == theirs for pair in pairs for mine, theirs in pair)


def measure_once(plan: schema.Plan, images: Bytes, seed: int, samples: int) -> Facts:
    """Measure under the random numbers of one seed; see `measure`."""
    facts = msgspec.structs.replace(facts_of(plan.model), seed=seed)
    with _apart():
        try:
            return _measured(plan, facts, images, samples)
        except SubmissionError as error:
            where = f" ({error.where})" if error.where else ""
            why = f"it cannot be run on a few images: {error.message}{where}"
        except OPERATION_ERRORS as error:  # on results that no description would lead to expect
            why = f"it cannot be measured: {type(error).__name__}: {error}"[:500]
        return msgspec.structs.replace(facts, contradictions=[why])


def _measured(plan: schema.Plan, facts: Facts, images: Bytes, samples: int) -> Facts:
    model, recipe = plan.model, plan.recipe
    batch = min(max(recipe.batch_size, 2), _MOST)
    pictures = _pictures(plan, images, facts.seed, batch)
    per_epoch = steps_per_epoch(recipe.batch_size, samples, drop_last=recipe.drop_last)
    steps = recipe.epochs * per_epoch
    bench = Bench(model, _taught(recipe), pictures, batch=batch, steps=steps, seed=facts.seed)
    train, evaluation = Drawing(model, "train"), Drawing(model, "eval")
    averages, averaging = poolings(bench, train, evaluation)
    rows = layers(bench, train, averaging)
    act = learning(bench.close, model)
    differing = difference(bench, train, evaluation, pictures)
    mixing = mixings(bench, evaluation, pictures)
    tensors = [
        msgspec.structs.replace(t, used=t.name in act.used, idle=t.name in act.idle)
        if t.role == "parameter"
        else t
        for t in facts.tensors
    ]
    scores = bench.close.usual("train", DRAWS[-1])
    return msgspec.structs.replace(
        facts,
        unused=sum(t.count for t in tensors if not t.used),
        macs=sum(row.macs for row in rows),
        activations=sum(row.activations for row in rows),
        classes=scores.shape[1],
        output=_output(scores),
        tensors=tensors,
        layers=rows,
        batch_norm=batch_norms(bench, train, evaluation),
        dropout=dropouts(bench, train, evaluation),
        global_average_pooling=averages,
        same_network=not differing,
        difference=differing,
        batch_independent=not mixing,
        mixing=mixing,
        contradictions=list(misshapen(bench, train, evaluation)),
        symmetries=symmetries(bench.close),
        notes=list(_notes(facts, act)),
    )


def _output(scores: torch.Tensor) -> Output:
    """Say what rows of scores hold, by what they sum to."""
    ones = torch.ones(len(scores), dtype=scores.dtype)
    if torch.allclose(scores.exp().sum(1), ones, atol=1e-4):
        return "log-probabilities"
    if bool((scores >= 0).all()) and torch.allclose(scores.sum(1), ones, atol=1e-4):
        return "probabilities"
    return "logits"


def _notes(facts: Facts, act: Learning) -> Iterator[str]:
    """Name what no check judges, but the author will want to know."""
    frozen = [
        t.name
        for t in facts.tensors
        if t.role == "parameter" and t.name in act.used and not t.trainable
    ]
    if act.cut:
        ends = _listed(act.ends) or "an operation without one"
        yield f"no gradient reaches {_listed(sorted(act.cut))}: it ends at {ends}"
    if frozen:
        yield f"frozen, so never trained: {_listed(frozen)}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _taught(recipe: schema.Recipe) -> set[str]:
    """Return the names of the tensors that the optimiser gets with a learning rate above zero."""
    groups = zip(recipe.optimizer.groups, recipe.schedule.lr, strict=False)
    return {name for group, lr in groups if any(lr) for name in group.parameters}


def _pictures(plan: schema.Plan, images: Bytes, seed: int, count: int) -> torch.Tensor:
    """Choose images and prepare them as in testing: [N, *input_shape].

    Random ones where the transforms do not fit: the training will say so.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(images), generator=generator)[: max(count, MANY)]
    pixels = as_maps(images[chosen.numpy()])
    with contextlib.suppress(SubmissionError):
        draw = Draw(generator, torch.device("cpu"))
        pictures = augment(pixels, plan.recipe.test_transform, draw)
        if list(pictures.shape[1:]) == plan.model.input_shape:
            return pictures
    return torch.randn(len(chosen), *plan.model.input_shape, generator=generator)


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """Keep what is measured from what comes after it: random numbers, and threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for operations this small, more are a hindrance
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
