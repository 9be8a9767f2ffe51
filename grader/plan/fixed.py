"""Every number of a submission that survives into the rebuilt network or into its training.

Parameters are drawn anew and learned again; what is listed here is not. A network trained elsewhere
can be brought along in any of these places, so they are counted together, in one place, and
`limits.fixed_values` bounds their sum. A number counts by what it takes to write it down: see
`grader.plan.tables`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np

from grader.plan.arguments import reads
from grader.plan.findings import Fixed
from grader.plan.schema import (
    Constant,
    Graph,
    KaimingUniform,
    Model,
    Node,
    Normal,
    Option,
    Plan,
    Recipe,
    Ref,
    Tensor,
    Values,
)
from grader.plan.tables import BITS, Floats, compressed_bits, numbers_in, order_bits, width

ARCHITECTURE = 600
"""Numbers that operations, their order and the shapes of tensors are told by: free.

Networks of this size take 150 to 250, ResNet-50 takes 380.
"""

_NARROW = 2.0**-25  # of a learning rate: float32 does not see less
_SHRINKING = 0.5  # of weights in a step: what is left of them shows a rate's last bits
_SMALL = 64  # whole numbers up to this are sizes and angles
_ORDERS = range(9)  # of differences
_SPREAD = 4.0  # bits that tell how wide a single number was spread, of 2⁻⁸ to 2⁸


def fixed_values(plan: Plan) -> list[Fixed]:
    """List where a plan holds numbers of its author's, largest first."""
    found = [*_tables(plan.model), *_starts(plan.model), *_literals(plan), *_architecture(plan)]
    found += _transforms(plan.recipe)
    if plan.level == "rebuilt" and not plan.flaws:
        found += _training(plan.recipe, plan.model)
    return sorted((each for each in found if each.count), key=lambda each: -each.count)


def _tables(model: Model) -> Iterator[Fixed]:
    for tensor in model.tensors:
        if isinstance(tensor.init, Values):
            count = numbers_in(tensor.init.values, tensor.shape)
            yield Fixed(tensor.role, tensor.name, count, _place(model, tensor.name))


def _place(model: Model, name: str) -> str:
    """Return the line that reads a tensor first."""
    readers = (node.where for node in model.train.nodes if node.where and name in reads(node))
    return next(readers, model.where)


def _starts(model: Model) -> Iterator[Fixed]:
    """Count what tensors start around, or all start as, and how widely they are spread."""
    same = [(t.name, value) for t in model.tensors if (value := _everywhere(t)) is not None]
    spread = [(t, _spread_bits(t)) for t in model.tensors]
    constants = [value for _, value in same]
    many = [name for name, value in same if value not in (0.0, 1.0)]
    yield Fixed(
        "initial values", f"of {_listed(many)}", numbers_in(constants), model.where
    )  # fmt: skip
    told = [t.name for t, bits in sorted(spread, key=lambda each: -each[1]) if bits]
    yield Fixed(
        "means and spreads of initial values", f"of {_listed(told)}",
        math.ceil(sum(bits for _, bits in spread) / BITS), model.where,
    )  # fmt: skip


def _everywhere(tensor: Tensor) -> float | None:
    """Return the number that all elements start as, if they do."""
    match tensor.init:
        case Constant(value):
            return value
        case Values([first, *others]) if all(other == first for other in others):
            return first
        case _:
            return None


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _spread_bits(tensor: Tensor) -> float:
    """Return the bits that the numbers drawn for a tensor tell of how they were drawn.

    One number drawn from N(m, s²) tells log2(1 + m²/s²)/2 bits of m; n of them n times as sharply.
    """
    size = math.prod(tensor.shape)
    match tensor.init:
        case Normal(mean, std) if size:
            centre = size * mean * mean / (std * std) if std > abs(mean) * 1e-9 else 2.0**64
            return (math.log2(1 + centre) + math.log2(size)) / 2 + _SPREAD
        case KaimingUniform(bound) if size and not _is_standard(tensor, bound):
            return math.log2(size) / 2 + _SPREAD
        case _:
            return 0.0


def _is_standard(tensor: Tensor, bound: float) -> bool:
    """Tell whether a bound is that of the tensor's own fan-in, as PyTorch has it."""
    fan_in = math.prod(tensor.shape[1:]) if len(tensor.shape) > 1 else 0
    return fan_in > 0 and math.isclose(bound, 1 / math.sqrt(fan_in), rel_tol=1e-6)


def _literals(plan: Plan) -> Iterator[Fixed]:
    """Count different numbers written into operations; their order is the architecture's."""
    known: set[float] = {0, 1, -1}
    for what, graphs in (
        ("numbers in forward", (plan.model.train, plan.model.eval)),
        ("numbers in the loss", (plan.recipe.loss,)),
    ):
        places: Counter[str] = Counter()
        count = 0
        for node in (node for graph in graphs for node in graph.nodes):
            new: set[float] = {value for value in _numbers(node) if value not in known}
            known |= new
            held = sum(map(width, new)) + sum(len(text) // 8 for text in _texts(node))
            places[node.where or node.module or node.op] += held
            count += held
        where = ", ".join(place for place, held in places.most_common(3) if held)
        yield Fixed(what, "", count, where)


def _leaves(node: Node) -> Iterator[object]:
    pending: list[object] = [*node.args, *node.kwargs.values()]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(reversed(value))
        else:
            yield value


def _numbers(node: Node) -> Iterator[int | float]:
    for value in _leaves(node):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield value


def _texts(node: Node) -> Iterator[str]:
    for value in _leaves(node):
        if isinstance(value, str) and len(value) > 40:
            yield value


def _architecture(plan: Plan) -> Iterator[Fixed]:
    """Count what tells the operations, the values they take, and the tensors there are."""
    model = plan.model
    graphs = [model.train, model.eval, *([plan.recipe.loss] if plan.level == "rebuilt" else [])]
    tensors = {tensor.name: index for index, tensor in enumerate(model.tensors)}
    words = [word for graph in graphs for word in _words(graph, tensors)]
    words += [f"{t.role}{t.shape}{t.dtype}{t.trainable}{t.init.__class__}" for t in model.tensors]
    bits = compressed_bits("\n".join(words).encode())
    count = math.ceil(bits / BITS) - ARCHITECTURE
    yield Fixed("choices in forward", "operations and their order", max(0, count), model.where)


def _words(graph: Graph, tensors: dict[str, int]) -> Iterator[str]:
    """Write each operation with the distances to what it takes, so that repetition shows."""
    place = {name: -1 - index for index, name in enumerate(graph.inputs)}
    last = 0
    for index, node in enumerate(graph.nodes):
        taken: list[str] = [
            node.op,
            *node.kwargs,
            str(_lengths([*node.args, *node.kwargs.values()])),
        ]
        for value in _leaves(node):
            if not isinstance(value, Ref):
                taken.append(hex(value) if isinstance(value, int) else repr(value))
            elif value.ref in tensors:
                taken.append(f"t{tensors[value.ref] - last}")
                last = tensors[value.ref]
            else:
                taken.append(f"n{index - place.get(value.ref, 0)}")
        place[node.name] = index
        yield " ".join(taken)


def _lengths(values: Sequence[object]) -> list[int]:
    """Return how long lists are, and those inside them."""
    return [length for v in values if isinstance(v, list) for length in (len(v), *_lengths(v))]


def _training(recipe: Recipe, model: Model) -> Iterator[Fixed]:
    groups, wide = recipe.optimizer.groups, _wide(model)
    member = {name: index for index, group in enumerate(groups) for name in group.parameters}
    options = sorted({key for group in groups for key in group.options})
    counts = {key: numbers_in(_flat(g.options.get(key) for g in groups)) for key in options}
    trainable = [member.get(tensor.name) for tensor in model.tensors if tensor.trainable]
    sharing = math.ceil(order_bits(trainable) / BITS)
    yield Fixed(
        "options of parameter groups", _listed(sorted(counts, key=lambda key: -counts[key])),
        sum(counts.values()) + sharing, "optimizer",
    )  # fmt: skip
    rates, momenta = recipe.schedule.lr, recipe.schedule.momentum or []
    decay = max((v for g in groups for v in _flat([g.options.get("weight_decay")])), default=0.0)
    wide |= decay * max(map(max, rates)) > _SHRINKING
    plateau = _flat([msgspec.to_builtins(recipe.schedule.plateau)])
    count = (
        len(set(plateau))
        + _series(rates, wide)
        + max(_series(momenta, wide), _series([[1 - v for v in each] for each in momenta], wide))
    )
    yield Fixed("learning rates and momentum", "of all steps", count, "scheduler")


def _transforms(recipe: Recipe) -> Iterator[Fixed]:
    transforms = [*recipe.train_transform, *recipe.test_transform]
    numbers = _flat(map(msgspec.to_builtins, transforms))
    different = {value for value in numbers if value % 1 or abs(value) > _SMALL}
    yield Fixed("numbers of transforms", "", len(different), "transforms")


def _flat(values: Iterable[Option | object]) -> list[float]:
    """Return all numbers in options or records, in order."""
    found: list[float] = []
    for value in values:
        if isinstance(value, bool | int | float):
            found.append(float(value))
        elif isinstance(value, list | tuple):
            found += _flat(value)
        elif isinstance(value, dict):
            found += _flat(value.values())
    return found


def _wide(model: Model) -> bool:
    """Tell whether a parameter is so precise that it sees the last bits of a learning rate."""
    return any(t.trainable and t.dtype == "torch.float64" for t in model.tensors)


def _series(series: Iterable[Sequence[float]], wide: bool) -> int:
    """Count steps whose number does not follow from those before, in series that are no multiples.

    What follows is told by differences of one order, all along the series: none of a rate that
    stays, the fourth of a cosine.
    """
    told, kept = 0, list[Floats]()
    for values in {tuple(each): None for each in series}:
        numbers = np.asarray(values, dtype=np.float64)
        shape = numbers / (numbers.max() or 1.0)
        told += 1
        if not any(
            len(shape) == len(k) and np.allclose(shape, k, 0 if wide else _NARROW, 0) for k in kept
        ):
            kept.append(shape)
            told += len(np.unique(shape)) - 1 if wide else min(_fresh(shape, k) for k in _ORDERS)
    return told


def _fresh(values: Floats, order: int) -> int:
    """Count numbers that differ from what differences of an order foretell, as float32 sees it."""
    if len(values) <= order:
        return len(values)
    left = np.abs(np.diff(values, order)) if order else np.ones(len(values))
    seen = _NARROW * np.abs(values[order:])
    return order - 1 + int((left > seen).sum()) if order else len(np.unique(values))
