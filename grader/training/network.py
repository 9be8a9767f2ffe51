"""A network built from a Plan's model: its tensors made by us, its graphs run node by node.

Only allow-listed operations are ever looked up. Names out of a Plan serve as dictionary keys and
nothing else: none becomes an attribute, a path or a piece of code.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch

from grader.errors import SubmissionError
from grader.plan import schema
from grader.training.calls import Call, calls
from grader.training.lanes.chain import Keys
from grader.training.lanes.packing import pack
from grader.training.lanes.vectors import LANES

# What an operation may raise about its arguments; running out of memory is a RuntimeError too.
OPERATION_ERRORS = (RuntimeError, IndexError, TypeError, ValueError, ArithmeticError, LookupError)

_Filler = Callable[[list[Any]], Any]
_Key = TypeVar("_Key")


def initial_state(model: schema.Model, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Draw the tensors that a network begins with, by name."""
    return {
        tensor.name: _initial(tensor, generator).requires_grad_(tensor.trainable)
        for tensor in model.tensors
    }


class Network:
    """Tensors and the two compiled graphs of a `schema.Model`.

    Call it with images [B, *input_shape] for the outputs; `train()` and `eval()` say which graph
    runs. Keys of `state` are the names the submission's own `state_dict` has.

    Raises SubmissionError when an operation does not exist here or cannot be carried out.
    """

    def __init__(
        self,
        model: schema.Model,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        *,
        lanes: bool = True,
    ) -> None:
        self.device = torch.device(device)
        self.state = {
            name: tensor.detach().to(self.device).requires_grad_(tensor.requires_grad)
            for name, tensor in initial_state(model, generator).items()
        }
        self.keys = Keys(int(torch.randint(2**31, (1,), generator=generator)))
        self._plain = self._compiled(model, None)
        fast = lanes and LANES and self.device.type == "cpu"
        self._packed = self._compiled(model, self.keys) if fast else None
        self.training = True

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Run the graph of the current mode on images [B, *input_shape]."""
        if self._packed and self.packs(images):
            return self._packed[self.training](images)
        return self._plain[self.training](images)

    def packs(self, images: torch.Tensor) -> bool:
        """Tell whether it computes on images in lanes for such a batch."""
        return bool(self._packed) and len(images) >= LANES and images.dtype == torch.float32

    def unpack(self) -> None:
        """Compute by PyTorch's own operations from now on."""
        self._packed = None

    def _compiled(self, model: schema.Model, keys: Keys | None) -> dict[bool, CompiledGraph]:
        """Compile both graphs; the key says whether it is the training graph."""
        graphs = {True: model.train, False: model.eval}
        return {
            mode: CompiledGraph(graph, self.state, self.device, keys)
            for mode, graph in graphs.items()
        }

    def train(self, mode: bool = True) -> None:
        """Switch to the training graph, or with False to the evaluation graph."""
        self.training = mode

    def eval(self) -> None:
        """Switch to the evaluation graph."""
        self.train(False)

    def parameters(self) -> Iterator[torch.Tensor]:
        """Yield the tensors that gradients are worked out for."""
        return (tensor for tensor in self.state.values() if tensor.requires_grad)

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Copy values in by name; every tensor of the network must be there."""
        with torch.no_grad():
            for name, tensor in self.state.items():
                tensor.copy_(state[name])


@dataclass(frozen=True)
class _Step:
    """One node, resolved: its function, its arguments with gaps, and what fills the gaps."""

    function: Callable[..., Any]
    args: list[Any]
    kwargs: dict[str, Any]
    gaps: tuple[tuple[int, _Filler], ...]
    keyword_gaps: tuple[tuple[str, _Filler], ...]
    result: int  # where in the list of values the result goes
    done_with: tuple[int, ...]  # values nobody reads after this step
    node: schema.Node

    def filled(self, values: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments, with what the values so far put into their gaps."""
        args, kwargs = self.args.copy(), self.kwargs.copy()
        for index, fill in self.gaps:
            args[index] = fill(values)
        for key, fill in self.keyword_gaps:
            kwargs[key] = fill(values)
        return args, kwargs

    def __call__(self, values: list[Any]) -> None:
        args, kwargs = self.filled(values)
        values[self.result] = self.function(*args, **kwargs)
        del args, kwargs  # so that what is done with is freed here
        for slot in self.done_with:
            values[slot] = None


class CompiledGraph:
    """A graph with its functions looked up and its arguments laid out, ready to run many times.

    With `keys` images lie in the lanes of vector registers where that can be, see `lanes`.
    `subject` is what messages call it.
    """

    def __init__(
        self,
        graph: schema.Graph,
        state: Mapping[str, torch.Tensor],
        device: torch.device,
        keys: Keys | None = None,
        subject: Literal["network", "loss"] = "network",
    ) -> None:
        self._subject = subject
        names = [*graph.inputs, *state, *(node.name for node in graph.nodes)]
        slots = {name: slot for slot, name in enumerate(names)}
        self._blank: list[Any] = [None] * len(graph.inputs) + list(state.values())
        self._blank += [None] * len(graph.nodes)
        self._inputs = len(graph.inputs)
        self._output = slots[graph.output]
        kept = {self._output, *(slots[name] for name in state)}
        steps = calls(graph)
        if keys:
            steps = pack(steps, graph.inputs, graph.output, state, keys)
        self._steps = _steps(steps, slots, kept, device)

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Run it on its inputs, in the order the graph names them."""
        values = self._blank.copy()
        values[: self._inputs] = inputs
        for step in self._steps:
            try:
                step(values)
            except OPERATION_ERRORS as error:
                raise failure(self._subject, step.node, error) from None
        output = values[self._output]
        if not isinstance(output, torch.Tensor):
            raise SubmissionError(
                f"the {self._subject}'s output is not a tensor",
                expected="a tensor",
                found=type(output).__name__,
            )
        return output


def _steps(
    calls: list[Call], slots: Mapping[str, int], kept: set[int], device: torch.device
) -> list[_Step]:
    steps: list[_Step] = []
    read_later = set(kept)
    for call in reversed(calls):
        reads = {slots[name] for name in call.references()}
        args, gaps = _template(list(enumerate(call.args)), slots, device)
        placed = {"device": device} if _makes_tensors(call) else {}
        kwargs, keyword_gaps = _template(list(call.kwargs.items()), slots, device)
        result = slots[call.node.name]
        steps.append(
            _Step(
                call.function,
                list(args.values()),
                placed | kwargs,
                gaps,
                keyword_gaps,
                result,
                tuple(sorted(({result} | reads) - read_later)),
                call.node,
            )
        )
        read_later |= reads
    return steps[::-1]


def _makes_tensors(call: Call) -> bool:
    """Tell whether an operation may be told where its result shall be, and lies on the CPU if not.

    A loss with a table of the author's says nothing of devices.
    """
    schema = getattr(call.function, "_schema", None)  # the grader's own and Python's have none
    arguments = schema.arguments if schema is not None else ()
    return any(each.name == "device" and each.kwarg_only for each in arguments)


def _template(
    arguments: list[tuple[_Key, schema.Value]], slots: Mapping[str, int], device: torch.device
) -> tuple[dict[_Key, Any], tuple[tuple[_Key, _Filler], ...]]:
    """Split arguments into what is known now, and what is filled in from the values so far."""
    known = {key: None if _has_reference(v) else _decoded(v, device) for key, v in arguments}
    gaps = tuple((key, _filler(v, slots, device)) for key, v in arguments if _has_reference(v))
    return known, gaps


def _has_reference(value: object) -> bool:
    return isinstance(value, schema.Ref) or (
        isinstance(value, list) and any(_has_reference(item) for item in value)
    )


def _filler(value: object, slots: Mapping[str, int], device: torch.device) -> _Filler:
    """Make the function from the values so far to one argument."""
    if isinstance(value, schema.Ref):
        return operator.itemgetter(slots[value.ref])
    if isinstance(value, list):
        fillers = [_filler(item, slots, device) for item in value]
        return lambda values: [fill(values) for fill in fillers]
    constant = _decoded(value, device)
    return lambda _: constant


_TORCH_WORDS: dict[str, object] = {
    str(word): word
    for word in vars(torch).values()
    if isinstance(word, torch.dtype | torch.layout | torch.memory_format)
}


def _decoded(value: object, device: torch.device) -> object:
    """Give "device", "float:inf" and the likes of "torch.float32" back their meaning."""
    if isinstance(value, list):
        return [_decoded(item, device) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith("float:"):
        return float(value.removeprefix("float:"))
    return device if value == "device" else _TORCH_WORDS.get(value, value)


_REMEDIES = {
    "network": "make sure it takes batches of any size, and images of the declared shape",
    "loss": "make sure it takes scores [B, 10] and labels [B], in batches of any size",
}


def failure(subject: str, node: schema.Node, error: Exception) -> SubmissionError:
    """Return what to say of an operation that could not be carried out."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return SubmissionError(
        f"the {subject} cannot be run: {node.op} says: {reason}",
        where=", ".join(part for part in (node.module, node.where) if part),
        help=_REMEDIES[subject],
    )


def _initial(tensor: schema.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Make one tensor as its `init` says; random ones take their numbers from `generator`."""
    dtype = _TORCH_WORDS.get(tensor.dtype)
    if not isinstance(dtype, torch.dtype):
        raise SubmissionError("a tensor has a type this PyTorch does not know", found=tensor.dtype)
    filled = torch.empty(tensor.shape, dtype=dtype)
    match tensor.init:
        case schema.KaimingUniform(bound):
            return filled.uniform_(-bound, bound, generator=generator)
        case schema.Normal(mean, std):
            return filled.normal_(mean, std, generator=generator)
        case schema.Constant(value):
            return filled.fill_(value)
        case schema.Values(values):
            if len(values) != math.prod(tensor.shape):
                raise SubmissionError(
                    f"the values of {tensor.name} do not fill its shape",
                    expected=f"{math.prod(tensor.shape):,} numbers",
                    found=f"{len(values):,}",
                )
            return torch.tensor(values, dtype=torch.float64).to(dtype).reshape(tensor.shape)
