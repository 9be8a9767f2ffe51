"""A graph without side effects: what changes a tensor in place becomes a new version of it.

In `y = x[:, 0]; y.mul_(2); return x` the multiplication reaches the output although nothing
refers to its result. Here `x` as returned is a node that reads the product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from grader.plan.arguments import flag, name_of, number, words
from grader.plan.schema import Graph, Model, Node, Ref, Shape, Value
from grader.plan.sizes import sizes_of

WRITE = "grader.write"
"""`[part]` or `[whole before, part]`: a tensor after one of its views was written."""

REREAD = "grader.reread"
"""`[whole now, view before]`: a view, read after its tensor was written."""

OVERWRITING = words("zero_ fill_ copy_ normal_ uniform_ random_ exponential_ bernoulli_")
"""In-place operations that keep their name, since the values before do not matter to them."""

_RESHAPED_IN_PLACE = words("squeeze_ unsqueeze_ t_ transpose_ detach_")

_VIEWS = words(
    """alias detach view view_as transpose swapaxes swapdims permute movedim moveaxis t numpy_T mT
    mH matrix_H squeeze unsqueeze select slice narrow expand expand_as broadcast_to chunk split
    split_with_sizes tensor_split hsplit vsplit dsplit unbind diagonal unfold unflatten lift_fresh
    getitem _unsafe_view real imag resolve_conj unsafe_chunk unsafe_split"""
)
_VIEWS_IF_CONTIGUOUS = words("reshape reshape_as flatten ravel contiguous")
_KEEP_CONTIGUOUS = words(
    """alias detach view view_as squeeze unsqueeze unflatten lift_fresh _unsafe_view reshape
    reshape_as flatten ravel contiguous dropout feature_dropout alpha_dropout
    feature_alpha_dropout to"""
)
_DROPOUTS = words("dropout feature_dropout alpha_dropout feature_alpha_dropout")
_TWINS = _DROPOUTS | words("alias detach contiguous to lift_fresh")  # views that change no shape


@dataclass(frozen=True)
class Flow:
    """A functional graph; `written` names the tensors of the model that it changed."""

    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    output: str
    written: frozenset[str]


@dataclass(frozen=True)
class _Alias:
    """Whose memory a value shares, and whether all of it."""

    root: str
    whole: bool
    contiguous: bool


def functional(model: Model, graph: Graph) -> Flow:
    """Rewrite a graph so that no operation changes its arguments."""
    rewriter = _Rewriter(model, graph)
    for node in graph.nodes:
        rewriter.add(node)
    output = rewriter.now(graph.output)
    return Flow(tuple(graph.inputs), tuple(rewriter.nodes), output, frozenset(rewriter.written))


class _Rewriter:
    def __init__(self, model: Model, graph: Graph) -> None:
        self.nodes: list[Node] = []
        self.written: set[str] = set()
        self._tensors = {tensor.name for tensor in model.tensors}
        own: dict[str, Shape] = {t.name: [*t.shape] for t in model.tensors}
        own.update({name: ["B", *model.input_shape] for name in graph.inputs})
        self._shapes: dict[str, Shape | None] = {**own}
        self._dtypes = {tensor.name: tensor.dtype for tensor in model.tensors}
        self._aliases = {name: _Alias(name, whole=True, contiguous=True) for name in own}
        self._values = {name: name for name in own}
        self._twins: dict[str, str] = {}  # a value that is another, until one of them is written
        self._seen = dict.fromkeys(own, 0)  # how many writes to its root a value has taken in
        self._writes = dict.fromkeys(own, 0)

    def add(self, node: Node) -> None:
        """Take over one node; its name stands for its latest version from here on."""
        name = name_of(node)
        target = node.args[0].ref if node.args and isinstance(node.args[0], Ref) else None
        changed = target is not None and _changes_argument(name)
        self._emit(node, _functional_op(node, name) if changed else node.op)
        if target is None or target not in self._aliases:
            self._own(node.name)
        elif name in _RESHAPED_IN_PLACE:
            self._aliases[target] = self._aliases[node.name] = self._aliases[target]
            self._values[target] = node.name
            self._seen[node.name] = self._seen[target]
        elif changed:
            self._write(node, target)
        elif self._is_view(node, name, target):
            self._view(node, name, target)
        else:
            self._own(node.name)

    def now(self, name: str) -> str:
        """Return the value a name stands for now."""
        alias = self._aliases.get(name)
        if alias is None:
            return name
        if self._seen[name] != self._writes[alias.root] and name in self._twins:
            return self.now(self._twins[name])
        if self._seen[name] != self._writes[alias.root]:
            arguments: list[Value] = [Ref(self._values[alias.root]), Ref(self._values[name])]
            self._values[name] = self._append(REREAD, arguments, name)
            self._seen[name] = self._writes[alias.root]
        return self._values[name]

    def _emit(self, node: Node, op: str) -> None:
        arguments = [self._current(value) for value in node.args]
        keywords = {key: self._current(value) for key, value in node.kwargs.items()}
        self.nodes.append(msgspec.structs.replace(node, op=op, args=arguments, kwargs=keywords))
        self._shapes[node.name] = node.shape
        self._dtypes[node.name] = node.dtype
        self._values[node.name] = node.name

    def _current(self, value: Any) -> Any:  # noqa: ANN401 - the depth of a list is kept
        if isinstance(value, Ref):
            return Ref(self.now(value.ref))
        if isinstance(value, list):
            return [self._current(item) for item in value]
        return value

    def _own(self, name: str) -> None:
        self._aliases[name] = _Alias(name, whole=True, contiguous=True)
        self._seen[name] = self._writes[name] = 0

    def _view(self, node: Node, name: str, source: str) -> None:
        parent = self._aliases[source]
        same = _count(self._shapes[source]) == _count(node.shape)
        is_list = node.shape is None
        unchanged = name == "slice" and node.shape == self._shapes[source]
        self._aliases[node.name] = _Alias(
            parent.root,
            whole=parent.whole and (same or is_list),
            contiguous=parent.contiguous and (name in _KEEP_CONTIGUOUS or unchanged),
        )
        self._seen[node.name] = self._writes[parent.root]
        if name in _TWINS:
            self._twins[node.name] = self._twins.get(source, source)

    def _is_view(self, node: Node, name: str, source: str) -> bool:
        if name in _DROPOUTS:
            return not flag(node, "train") or number(node, "p", 0.5) == 0
        if name == "to":
            return node.dtype == self._dtypes.get(source)
        return name in _VIEWS or (name in _VIEWS_IF_CONTIGUOUS and self._aliases[source].contiguous)

    def _write(self, node: Node, target: str) -> None:
        """Make the node the new version of its target and of the tensor the target lies in."""
        target = self._twins.get(target, target)
        alias = self._aliases[target]
        root = alias.root
        if root in self._tensors:
            self.written.add(root)
        if target != root:
            parts: list[Value] = [Ref(node.name)]
            before: list[Value] = [] if alias.whole else [Ref(self._values[root])]
            self._values[root] = self._append(WRITE, before + parts, root)
        self._values[target] = node.name
        self._writes[root] += 1
        self._aliases[node.name] = alias
        self._twins[node.name] = target
        for name in (root, target, node.name):
            self._seen[name] = self._writes[root]

    def _append(self, op: str, arguments: list[Value], like: str) -> str:
        name = f"@{len(self.nodes)}"
        dtype = self._dtypes.get(like, "torch.float32")
        self.nodes.append(Node(name, op, arguments, {}, self._shapes.get(like), dtype))
        return name


def _changes_argument(name: str) -> bool:
    return (name.endswith("_") and not name.endswith("__")) or name.startswith("__i")


def _functional_op(node: Node, name: str) -> str:
    """Return the operation that gives the same result without changing its argument."""
    if name in OVERWRITING:
        return node.op
    plain = f"__{name[3:]}" if name.startswith("__i") else name[:-1]
    return node.op.replace(f"aten.{name}.", f"aten.{plain}.", 1)


def _count(shape: Shape | None) -> int | None:
    sizes = sizes_of(shape)
    if sizes is None:
        return None
    total = 1
    for size in sizes:
        total *= size
    return total
