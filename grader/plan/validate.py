"""What the types of a Plan cannot say. A Plan comes out of a process in which student code ran."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator

import msgspec

from grader.datasets.known import MNIST, Dataset
from grader.errors import SubmissionError
from grader.plan.arguments import reads
from grader.plan.assemble import steps_per_epoch
from grader.plan.operations import is_allowed
from grader.plan.schema import (
    MAX_CONSTANTS,
    Constant,
    Graph,
    KaimingUniform,
    Model,
    Node,
    Normal,
    Optimizer,
    Plan,
    Recipe,
    Schedule,
    Tensor,
    Values,
)
from grader.plan.sizes import BATCH, MAX_FORMULAS, sizes_of

MAX_ELEMENTS = 50_000_000
"""Numbers in all tensors together: far beyond the limit, small enough to hold in memory."""

MAX_CHANNELS, MAX_SIDE = 4, 256
"""Of the images a network takes: as many as a transform can make."""

MAX_RESULT = 10**9
"""Elements of one result for one image."""

MAX_VALUES = 200_000
"""Arguments of all operations of a graph together, items of lists included: what the analyses take
grows with them. The largest networks of torchvision have some 20,000.
"""


_LARGEST_FLOAT = {
    "torch.float64": sys.float_info.max, "torch.float32": (2 - 2**-23) * 2.0**127,
    "torch.bfloat16": (2 - 2**-7) * 2.0**127, "torch.float16": 65_504.0,
}  # fmt: skip
_WHOLE = {
    "torch.int64": (-(2**63), 2**63 - 1), "torch.int32": (-(2**31), 2**31 - 1),
    "torch.int16": (-(2**15), 2**15 - 1), "torch.int8": (-128, 127), "torch.uint8": (0, 255),
    "torch.bool": (0, 1),
}  # fmt: skip
DTYPES = frozenset(_LARGEST_FLOAT) | frozenset(_WHOLE)

_NOT_FINITE = ("float:inf", "float:-inf", "float:nan")  # JSON has no numbers for these

_OURS = "the grader writes this description itself: report it if the submission is honest"


def validate(plan: Plan, max_epochs: int | None = None, dataset: Dataset = MNIST) -> None:
    """Check everything the trusted side relies on.

    `max_epochs` is the number after which a longer recipe is cut off: its schedule has to reach
    no further. Raises SubmissionError with what was expected and found, and where.
    """
    validate_model(plan.model, dataset)
    validate_recipe(plan.recipe, plan.model, max_epochs, dataset)


def validate_model(model: Model, dataset: Dataset = MNIST) -> None:
    """Check tensors and both graphs, which give a score for each class at least.

    Raises SubmissionError.
    """
    _input(model)
    names = [tensor.name for tensor in model.tensors]
    _unique(names, "the model")
    for tensor in model.tensors:
        _tensor(tensor)
    _sizes(model)
    for mode, graph in (("training", model.train), ("evaluation", model.eval)):
        place = f"the {mode} graph"
        if len(graph.inputs) != 1:
            raise _wrong("the network takes more than the images", "one input",
                         str(len(graph.inputs)), place)  # fmt: skip
        _graph(graph, names, place)
        _output(graph, place, len(dataset.classes))
    if _classes(model.train) != _classes(model.eval):
        raise _wrong(
            "the network gives another number of scores in evaluation than in training",
            f"{_classes(model.train)} scores an image", str(_classes(model.eval)), model.where,
        )  # fmt: skip
    _finite(model)


def validate_recipe(
    recipe: Recipe, model: Model, max_epochs: int | None = None, dataset: Dataset = MNIST
) -> None:
    """Check optimiser, schedule and loss against the model; see `validate` for `max_epochs`.

    Raises SubmissionError.
    """
    epochs = min(recipe.epochs, max_epochs or recipe.epochs)
    steps = epochs * steps_per_epoch(recipe.batch_size, dataset.train, drop_last=recipe.drop_last)
    _groups(recipe.optimizer, model)
    _schedule(recipe.schedule, len(recipe.optimizer.groups), steps)
    if recipe.loss.inputs != ["output", "target"]:
        raise _wrong("the loss does not take output and target", "output, target",
                     ", ".join(recipe.loss.inputs), "the loss")  # fmt: skip
    _graph(recipe.loss, [], "the loss")
    last = _node(recipe.loss)
    if last is None or last.shape != []:
        raise _wrong("the loss is not one number", "the mean over a batch",
                     "no operation" if last is None else f"shape {last.shape}", "the loss",
                     "return a loss with reduction='mean'")  # fmt: skip
    _finite(recipe)


def _wrong(
    message: str, expected: str, found: str, where: str, help: str = _OURS
) -> SubmissionError:
    return SubmissionError(message, expected=expected, found=found[:300], where=where, help=help)


def _unique(names: Iterable[str], place: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen or name.startswith("@"):
            raise _wrong(
                "a name cannot be used", "names used once that begin with no @", name, place
            )
        seen.add(name)


def _input(model: Model) -> None:
    channels, *sides = model.input_shape
    if (
        len(sides) != 2
        or not 1 <= channels <= MAX_CHANNELS
        or not all(1 <= side <= MAX_SIDE for side in sides)
    ):
        raise _wrong("the network takes images of a shape the grader cannot provide",
                     f"up to {MAX_CHANNELS} channels of up to {MAX_SIDE}×{MAX_SIDE} pixels",
                     str(model.input_shape), model.where)  # fmt: skip


def _tensor(tensor: Tensor) -> None:
    place = f"{tensor.role} {tensor.name}"
    if tensor.dtype not in DTYPES:
        raise _wrong("a tensor has a type the grader does not use", "a real or whole number type",
                     tensor.dtype, place, "use float32 parameters")  # fmt: skip
    if isinstance(tensor.init, Values):
        if tensor.role == "parameter":
            raise _wrong("a parameter comes with its values", "a rule to draw them by", "values",
                         place)  # fmt: skip
        if len(tensor.init.values) != math.prod(tensor.shape):
            raise _wrong("the values of a tensor do not fill its shape",
                         f"{math.prod(tensor.shape):,} numbers", f"{len(tensor.init.values):,}",
                         place)  # fmt: skip
    if not _fits(tensor):
        raise _wrong("a tensor cannot start as described", f"values that {tensor.dtype} can hold",
                     str(tensor.init), place, "use float32 parameters, and buffers for whole "
                     "numbers")  # fmt: skip
    if tensor.trainable and not (tensor.role == "parameter" and tensor.dtype in _LARGEST_FLOAT):
        raise _wrong("something that is not a parameter is trained", "a parameter of real numbers",
                     f"{tensor.role} of {tensor.dtype}", place)  # fmt: skip


def _fits(tensor: Tensor) -> bool:
    """Tell whether a tensor's type can hold what it starts with."""
    match tensor.init:
        case KaimingUniform(bound):
            numbers = [bound]
        case Normal(mean, std):
            numbers = [mean, std]
        case Constant(value):
            numbers = [value]
        case Values(values):
            numbers = values
    if largest := _LARGEST_FLOAT.get(tensor.dtype):
        return all(abs(number) <= largest for number in numbers)
    low, high = _WHOLE[tensor.dtype]
    drawn = isinstance(tensor.init, KaimingUniform | Normal)
    return not drawn and all(n.is_integer() and low <= n <= high for n in map(float, numbers))


def _sizes(model: Model) -> None:
    total = sum(math.prod(tensor.shape) for tensor in model.tensors)
    if total > MAX_ELEMENTS:
        largest = max(model.tensors, key=lambda tensor: math.prod(tensor.shape))
        raise _wrong("the model is too large to be graded", f"at most {MAX_ELEMENTS:,} numbers",
                     f"{total:,}", f"most of them in {largest.name}",
                     "the limit of the assignment is far below this")  # fmt: skip
    baked = sum(len(t.init.values) for t in model.tensors if isinstance(t.init, Values))
    if baked > MAX_CONSTANTS:
        raise _wrong("the model carries too many fixed numbers", f"at most {MAX_CONSTANTS:,}",
                     f"{baked:,}", model.where,
                     "store what the network learns in parameters")  # fmt: skip


def _graph(graph: Graph, tensors: list[str], place: str) -> None:
    _effort(graph, place)
    known = {*graph.inputs, *tensors}
    _unique([*graph.inputs, *tensors, *(node.name for node in graph.nodes)], place)
    for node in graph.nodes:
        where = ", ".join(part for part in (node.module, node.where) if part) or place
        if not is_allowed(node.op):
            raise _wrong("the network uses an operation the grader does not allow",
                         "operations on tensors", node.op, where,
                         "write this line with other operations")  # fmt: skip
        if wrong := _unreadable([node.args, [*node.kwargs.values()]]):
            raise _wrong("an argument of an operation cannot be read", "a number", wrong, where)
        for name in reads(node):
            if name not in known:
                raise _wrong("an operation uses a result that does not exist yet",
                             "an earlier result, a tensor or an input", name, where)  # fmt: skip
        _shape(node, where)
        known.add(node.name)
    if graph.output not in known:
        raise _wrong("the output does not exist", "the result of an operation", graph.output, place)


def _effort(graph: Graph, place: str) -> None:
    """Refuse what would keep the analyses busy for minutes."""
    values = sum(_leaves([node.args, [*node.kwargs.values()]]) for node in graph.nodes)
    formulas = {dim for node in graph.nodes for dim in node.shape or () if isinstance(dim, str)}
    for found, most, what in (
        (values, MAX_VALUES, "arguments of operations"),
        (len(formulas), MAX_FORMULAS, "different formulas of the batch size"),
    ):
        if found > most:
            raise _wrong("the network is too large to be graded", f"at most {most:,} {what}",
                         f"{found:,}", place,
                         "the limit of the assignment is far below this")  # fmt: skip


def _leaves(value: object) -> int:
    return sum(map(_leaves, value)) if isinstance(value, list) else 1


def _unreadable(value: object) -> str:
    """Return a word that stands for a number and is none, or nothing."""
    if isinstance(value, list):
        return next(filter(None, map(_unreadable, value)), "")
    is_word = isinstance(value, str) and value.startswith("float:")
    return str(value) if is_word and value not in _NOT_FINITE else ""


def _shape(node: Node, where: str) -> None:
    sizes = sizes_of(node.shape) or ()
    if math.prod(sizes) > MAX_RESULT * BATCH or max(sizes, default=0) > MAX_RESULT * BATCH:
        raise _wrong("a result is too large", f"at most {MAX_RESULT:,} numbers an image",
                     str(node.shape), where, "use smaller maps, or fewer channels")  # fmt: skip


def _node(graph: Graph) -> Node | None:
    return next((node for node in graph.nodes if node.name == graph.output), None)


def _output(graph: Graph, place: str, classes: int) -> None:
    node = _node(graph)
    sizes = sizes_of(node.shape) if node is not None else None
    if sizes is None or len(sizes) != 2 or sizes[0] != BATCH or not classes <= sizes[1] < BATCH:
        found = "no result of an operation" if node is None else f"shape {node.shape}"
        raise _wrong(f"the network does not return the scores of {classes} classes",
                     f"shape [B, {classes}] for a batch of B images", found, place,
                     "average or flatten the last feature map")  # fmt: skip


def _classes(graph: Graph) -> object:
    node = _node(graph)
    return node.shape[1] if node is not None and node.shape else None


def _groups(optimizer: Optimizer, model: Model) -> None:
    trainable = {tensor.name for tensor in model.tensors if tensor.trainable}
    taken: set[str] = set()
    for number, group in enumerate(optimizer.groups, 1):
        place = f"the optimiser's parameter group {number}"
        for name in group.parameters:
            if name not in trainable:
                raise _wrong("the optimiser is given something it cannot train",
                             "a parameter of the model that requires a gradient", name, place,
                             "pass model.parameters() to the optimiser")  # fmt: skip
            if name in taken:
                raise _wrong("the optimiser is given a parameter twice", "each parameter once",
                             name, place, "make the parameter groups disjoint")  # fmt: skip
            taken.add(name)
    if not taken:
        raise _wrong("the optimiser has no parameters to train", "at least one parameter", "none",
                     "the optimiser", "pass model.parameters() to the optimiser")  # fmt: skip


def _schedule(schedule: Schedule, groups: int, steps: int) -> None:
    for what, lists in (("learning rate", schedule.lr), ("momentum", schedule.momentum)):
        if lists is None:
            continue
        place = f"the schedule of the {what}"
        if len(lists) != groups:
            raise _wrong("the schedule does not fit the optimiser",
                         f"a list for each of the {groups} parameter groups", str(len(lists)),
                         place)  # fmt: skip
        for values in lists:
            if len(values) != 1 and len(values) < steps:
                raise _wrong("the schedule ends before the training does",
                             f"1 number, or at least {steps:,}", f"{len(values):,}", place,
                             "let the scheduler run for all epochs")  # fmt: skip
            if any(value < 0 for value in values):
                raise _wrong(f"the {what} is negative", "0 or more", str(min(values)), place)


def _finite(part: msgspec.Struct) -> None:
    """Refuse numbers that are infinite or no number, wherever they stand."""
    for number in _floats(part):
        if not math.isfinite(number):
            raise _wrong("a number is not finite", "finite numbers", str(number),
                         type(part).__name__.lower())  # fmt: skip


def _floats(value: object) -> Iterator[float]:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, float):
            yield item
        elif isinstance(item, msgspec.Struct):
            pending.extend(getattr(item, field) for field in item.__struct_fields__)
        elif isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list | tuple):
            pending.extend(item)
