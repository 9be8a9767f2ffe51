"""Runs a function once on tensors without contents, and writes down every operation it calls.

What `torch.export` does when it is not strict, less what a Plan has no use for: loading the
compiler that it belongs to takes nearly as long as loading PyTorch. Operations are seen where
they are dispatched first (`DispatchKey.PreDispatch`), before autograd or a decomposition changes
them. They run on `FakeTensorMode`'s tensors, which have a shape and no contents, and in whose
shapes the batch size is a symbol.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from nodes import node_json, op_name, operation, plain, size
from shadow import Shadow, ValueAsked
from tensors import CannotCapture
from torch import SymFloat, SymInt, Tensor, nn
from torch._dispatch.python import enable_python_dispatcher
from torch._guards import Source
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.fx.experimental import symbolic_shapes
from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

Json = dict[str, Any]

BATCH = 4  # the batch size where a comparison asks for a number; it stays a symbol in the graph
_ASSERTIONS = ("_assert_scalar", "_assert_async", "sym_constrain", "_assert_tensor_metadata")
_UNKNOWN = (
    DataDependentOutputException, DynamicOutputShapeException,
    symbolic_shapes.GuardOnDataDependentSymNode,
)  # fmt: skip


_LEAVING = (Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.__format__)

# Memory nobody has written yet is only good for being written: zeros serve as well, and are safe.
_WRITTEN_FIRST = {
    torch.ops.aten.empty.memory_format: torch.ops.aten.zeros.default,
    torch.ops.aten.empty_like.default: torch.ops.aten.zeros_like.default,
    torch.ops.aten.new_empty.default: torch.ops.aten.new_zeros.default,
}


class Recorder(ProxyTorchDispatchMode):  # type: ignore[no-untyped-call] # of PyTorch's own
    """The graph of a function's call as a list of nodes, in the order the operations ran.

    PyTorch lets only a `ProxyTorchDispatchMode` see operations this early; of that class nothing
    but its place among the modes is used.

    `name_of` names a tensor that the recording did not make: a parameter, buffer or constant.
    `paths` gives modules their dotted paths by `id`, `files` are the places that belong to the
    submission, and with `gradients` what runs under `torch.no_grad` is recorded as such. `taken`
    are names that nodes must not have. With a `shadow` a call may ask for values.
    """

    def __init__(
        self,
        name_of: Callable[[Tensor], str],
        paths: Mapping[int, str],
        files: set[str],
        *,
        gradients: bool,
        taken: Collection[str] = (),
        shadow: Shadow | None = None,
    ) -> None:
        TorchDispatchMode.__init__(self, torch._C.DispatchKey.PreDispatch)  # type: ignore[no-untyped-call]
        self._mode_key = torch._C._TorchDispatchModeKey.PROXY
        self.enter_stack = []
        self.nodes: list[Json] = []
        self._name_of = name_of
        self._paths = paths
        self._files = files
        self._gradients = gradients
        self._taken = taken
        self._shadow = shadow
        self._module = [""]
        self._shapes = symbolic_shapes.ShapeEnv(allow_scalar_outputs=False)
        self._fake = FakeTensorMode(shape_env=self._shapes, allow_non_fake_inputs=True)
        self._batch = _batch_size(self._shapes)
        # Weak, because PyTorch copies what a factory made when somebody else holds it too.
        self._names = WeakIdKeyDictionary()
        self._sizes: dict[Any, str] = {}  # nodes that give a size, by its formula
        self._symbols: dict[Any, tuple[str, int]] = {}  # where to read a symbol's value
        self._used: dict[str, int] = {}

    def record(self, run: Callable[..., Any], **inputs: tuple[tuple[int, ...], torch.dtype]) -> Any:
        """Call `run` with one tensor an input, [B, *shape] of a dtype; return what it returns.

        The result's tensors have no contents. Raises CannotCapture, or what `run` raises.
        """
        with self._fake:
            tensors = [torch.empty((self._batch, *s), dtype=d) for s, d in inputs.values()]
        for name, tensor in zip(inputs, tensors, strict=True):
            self._used[name] = 0
            self._bind(tensor, name)
            if self._shadow is not None:
                self._shadow.fill(tensor, BATCH)
        with (
            torch.enable_grad(), self._fake, enable_python_dispatcher(), _Methods(self._content),
            self._modules_followed(), _functions_refused(self._gradients), self,
        ):  # fmt: skip
            return run(*tensors)

    def name(self, tensor: Tensor) -> str:
        """Return the name of a tensor: an input's, a node's, or what `name_of` says."""
        if tensor in self._names:
            return str(self._names[tensor])
        if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            raise CannotCapture(
                "forward uses torch.func or vmap", "write the operation for the whole batch"
            )
        if isinstance(tensor, FakeTensor):
            raise CannotCapture(
                "forward uses a tensor that was made where the grader cannot follow",
                "make it of the input with PyTorch's functions",
            )
        with unset_fake_temporarily():
            name = self._name_of(tensor)
        self._bind(tensor, name)
        return name

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Record that `target` is given the contents of `source`."""
        args = [{"ref": self.name(target)}, {"ref": self.name(source)}]
        self._add("copy_", "aten.copy_.default", args, {}, source)

    @contextlib.contextmanager
    def _modules_followed(self) -> Iterator[None]:
        def enter(module: nn.Module, args: object) -> None:
            self._module.append(self._paths.get(id(module), self._module[-1]))

        def leave(module: nn.Module, args: object, result: object) -> None:
            self._module.pop()

        hooks = (
            register_module_forward_pre_hook(enter),
            register_module_forward_hook(leave, always_call=True),
        )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Json | None = None
    ) -> Any:
        """Run one operation and write it down."""
        kwargs = kwargs or {}
        if torch.is_autocast_enabled("cpu"):
            raise CannotCapture(
                "forward uses torch.autocast", "remove autocast: the grader chooses the precision"
            )
        written = self._args(args), {k: self._value(v) for k, v in kwargs.items()}
        try:
            result = func(*args, **kwargs)
        except _UNKNOWN:
            if self._shadow is None:
                raise ValueAsked from None
            return self._shadow.answer(func, args, kwargs, (len(self.nodes), self._where()))
        if self._shadow is not None:
            self._shadow.follow(func, args, kwargs, result)
        if _has_tensor(result) and not any(a in func.__name__ for a in _ASSERTIONS):
            self._note(func, *written, result)
        return result

    def _content(self, tensor: Tensor) -> Tensor:
        """Give what is in a tensor to code that leaves PyTorch with it."""
        if self._shadow is None:
            raise ValueAsked
        return self._shadow.content(tensor, (len(self.nodes), self._where()))

    def write_out(self, tensor: Tensor) -> str:
        """Record a constant number by number, and return its name."""
        flat = tensor.detach().flatten()
        kind = {"dtype": str(tensor.dtype)}
        numbers = [
            self._add("scalar_tensor", "aten.scalar_tensor.default", [number], kind, flat[0])
            for number in flat.tolist()
        ]
        joined = self._add("stack", "aten.stack.default", [[{"ref": n} for n in numbers]], {}, flat)
        shape = [{"ref": joined}, list(tensor.shape)]
        return self._add("view", "aten.view.default", shape, {}, tensor)

    def __sym_dispatch__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Leave arithmetic on sizes alone: their formulas say it all once they are used."""
        return func(*args, **kwargs)

    def _note(self, func: Any, args: list[Any], kwargs: Json, result: Any) -> None:
        if func is torch.ops.aten.lift_fresh.default:
            func = torch.ops.aten.lift_fresh_copy.default  # it may be written to; constants not
        func = _WRITTEN_FIRST.get(func, func)
        name = self._add(func.overloadpacket.__name__, op_name(func), args, kwargs, result)
        if isinstance(result, Tensor):
            self._bind(result, name)
            return
        for index, item in enumerate(result):
            got = [{"ref": name}, index]
            self._bind(item, self._add("getitem", "operator.getitem", got, {}, item))

    def _add(self, base: str, op: str, args: list[Any], kwargs: Json, value: Any) -> str:
        name = self._fresh(base)
        place = {"module": self._module[-1], "where": self._where()}
        self.nodes.append(node_json(name, op, args, kwargs, value, place))
        return name

    def _fresh(self, base: str) -> str:
        """Give a name that no node has, and no tensor of the model."""
        while True:
            count = self._used.get(base, -1) + 1
            self._used[base] = count
            name = f"{base}_{count}" if count else base
            if name not in self._taken:
                return name

    def _where(self) -> str:
        """Return the innermost line of the submission that is running."""
        frame = sys._getframe()
        while frame.f_code is not Recorder.record.__code__:
            if frame.f_code.co_filename in self._files:
                return f"{frame.f_code.co_filename}, line {frame.f_lineno}"
            assert frame.f_back is not None
            frame = frame.f_back
        return ""

    def _bind(self, tensor: Any, name: str) -> None:
        """Let `name` stand for a tensor from here on."""
        if not isinstance(tensor, Tensor):
            return
        cut = self._gradients and not torch.is_grad_enabled()
        if cut and tensor.requires_grad and tensor in self._names:
            return  # changed in place under no_grad: gradients still flow as they did before
        self._names[tensor] = name
        for dim, length in enumerate(tensor.shape):
            if isinstance(length, SymInt) and length.node.expr.is_Symbol:
                self._symbols.setdefault(length.node.expr, (name, dim))

    def _args(self, values: Any) -> list[Any]:
        return [self._value(v) for v in values]

    def _value(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, (list, tuple)):
            return self._args(value)
        if isinstance(value, (SymInt, SymFloat)):
            return self._size(value.node.expr)
        return plain(value)

    def _tensor(self, tensor: Tensor) -> Json:
        """Refer to a tensor; under `no_grad` to a view of it that passes no gradient back."""
        name = self.name(tensor)
        if self._gradients and tensor.requires_grad and not torch.is_grad_enabled():
            detach = "detach", "aten.detach.default"
            name = self._add(*detach, [{"ref": name}], {}, tensor)
        return {"ref": name}

    def _size(self, expression: Any) -> Any:
        """Write a formula of the batch size as nodes, each once."""
        if expression.is_number:
            return int(expression) if expression.is_Integer else float(expression)
        if expression not in self._sizes:
            self._sizes[expression] = self._formula(expression)
        return {"ref": self._sizes[expression]}

    def _formula(self, expression: Any) -> str:
        value = self._shapes.create_symintnode(expression, hint=None)
        if expression.is_Symbol and expression in self._symbols:
            name, dim = self._symbols[expression]
            args = [{"ref": name}, dim]
            return self._add("sym_size_int", "aten.sym_size.int", args, {}, value)
        operator = operation(expression)
        if operator is None:
            raise CannotCapture(
                f"forward computes a size as {size(value)}, B being the number of images",
                "compute sizes with +, -, * and // only",
            )
        result, *others = [self._size(part) for part in expression.args]
        for other in others:
            args = [result, other]
            result = {"ref": self._add(operator, f"operator.{operator}", args, {}, value)}
        return str(result["ref"])


def _formatted(size: Any, spec: str) -> str:
    return format(size.node.hint, spec)


class _Batch(Source):
    """Says of the symbol for the batch size where it comes from."""

    name = "batch"


def _batch_size(shapes: symbolic_shapes.ShapeEnv) -> SymInt:
    SymInt.__format__ = _formatted  # type: ignore[method-assign] # for prints
    # PyTorch would load its compiler to tell the compiler's lines from the user's in a log.
    symbolic_shapes.uninteresting_files = set  # type: ignore[assignment]
    source = _Batch()
    dynamic = symbolic_shapes.DimDynamic.DYNAMIC
    symbol = shapes.create_symbol(BATCH, source, dynamic)
    made = shapes.create_symintnode(symbol, hint=BATCH, source=source)
    assert isinstance(made, SymInt)
    return made


def _has_tensor(result: Any) -> bool:
    return any(isinstance(leaf, Tensor) for leaf in tree_leaves(result))


class _Methods(TorchFunctionMode):
    """Makes operations of what leaves no trace otherwise, and tells when values leave PyTorch."""

    def __init__(self, content: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._content = content

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Json | None = None
    ) -> Any:
        if func == Tensor.data.__get__:  # type: ignore[attr-defined]
            return args[0].detach()
        if func == Tensor.data.__set__:  # type: ignore[attr-defined]
            with torch.no_grad():
                return args[0].copy_(args[1])
        if func in _LEAVING and isinstance(args[0], FakeTensor):
            content = self._content(args[0])
            with _disable_current_modes():
                return func(content, *args[1:], **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def _functions_refused(gradients: bool) -> Iterator[None]:
    """Refuse autograd functions where gradients matter: they bring a backward of their own."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise CannotCapture(
            "forward uses a torch.autograd.Function with a backward of its own",
            "write it with PyTorch's own functions",
        )

    original = torch.autograd.Function.__dict__["apply"]
    if gradients:
        torch.autograd.Function.apply = classmethod(refuse)
    try:
        yield
    finally:
        torch.autograd.Function.apply = original
