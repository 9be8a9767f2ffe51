"""What a network does, from its Plan alone: no torch, no training.

The findings come from the graphs: names of layers, and layers that are declared but not used,
prove nothing.
"""

from __future__ import annotations

from typing import Literal

from grader.plan.arguments import first_read, name_of, words
from grader.plan.axes import axes_of
from grader.plan.counting import count_literals, count_tensors
from grader.plan.findings import Facts, Finding, Layer, Mixing, TensorCount
from grader.plan.functional import functional
from grader.plan.layers import layers_of
from grader.plan.mixing import mixings
from grader.plan.noise import dropouts
from grader.plan.normalisation import batch_norms
from grader.plan.notes import notes_of
from grader.plan.path import Trace, trace
from grader.plan.pooling import in_evaluation, poolings
from grader.plan.same import difference
from grader.plan.schema import Model
from grader.plan.sizes import capped, elements

__all__ = ["Facts", "Finding", "Layer", "Mixing", "TensorCount", "facts_of"]

Output = Literal["log-probabilities", "probabilities", "logits"]

_PASSED_ON = words(
    "view reshape flatten squeeze unsqueeze contiguous clone dropout detach to alias"
)


def facts_of(model: Model) -> Facts:
    """Work out the facts of a model that `validate_model` accepted; never raises."""
    flows = [functional(model, graph) for graph in (model.train, model.eval)]
    changed = flows[0].written | flows[1].written
    train, evaluation = (trace(model, flow, changed) for flow in flows)
    axes = axes_of(train)
    averages, averaging = poolings(train, axes)
    evaluated, _ = poolings(evaluation, axes_of(evaluation))
    tensors = count_tensors(model, train, evaluation) + count_literals(model)
    layers = layers_of(train, axes, averaging)
    output = train.nodes.get(train.flow.output)
    mixing = mixings(evaluation, axes_of(evaluation))
    differing = difference(train, evaluation)
    return Facts(
        class_name=model.class_name,
        parameters=sum(t.count for t in tensors if t.counted),
        declared=sum(t.count for t in tensors if t.role == "parameter"),
        unused=sum(t.count for t in tensors if t.role == "parameter" and not t.used),
        macs=capped(sum(layer.macs for layer in layers)),
        activations=capped(sum(layer.activations for layer in layers)),
        classes=elements(output.shape) if output else 0,
        output=_output_kind(train),
        tensors=tensors,
        layers=layers,
        batch_norm=batch_norms(train, evaluation),
        dropout=dropouts(train, evaluation),
        global_average_pooling=in_evaluation(averages, evaluated),
        same_network=not differing,
        difference=differing,
        batch_independent=not mixing,
        mixing=mixing,
        notes=notes_of(train, tensors),
    )


def _output_kind(train: Trace) -> Output:
    """Say what the output holds, by the last operation that changes its values."""
    node = train.nodes.get(train.flow.output)
    is_logarithm = False
    while node is not None:
        name = name_of(node)
        if name in ("log_softmax", "special_log_softmax"):
            return "log-probabilities"
        if name in ("softmax", "special_softmax"):
            return "log-probabilities" if is_logarithm else "probabilities"
        if name == "log":
            is_logarithm = True
        elif name not in _PASSED_ON:
            break
        node = train.nodes.get(first_read(node) or "")
    return "logits"
