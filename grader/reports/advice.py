"""What would make a network better, each with the figure that says so and what it would save.

Every rule reads the Record and returns words, or nothing. Advice never changes a verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from grader.record import Facts, Layer

_LEARNS = ("convolution", "linear")
_DIGIT = 20  # pixels: MNIST's digits were scaled to fit a box of 20×20 before they were centred


def advice(facts: Facts) -> list[str]:
    """Return what to try, the largest saving first in each rule."""
    path = [layer for layer in facts.layers if layer.on_path]
    return [text for rule in _RULES for text in rule(facts, path)]


def _heavy_layers(facts: Facts, path: list[Layer]) -> list[str]:
    """Name a layer that holds more than half of all parameters of a network that is too large."""
    top = max(facts.layers, key=lambda layer: layer.parameters, default=None)
    if top is None or facts.parameters < 20_000 or top.parameters <= facts.parameters / 2:
        return []
    share = top.parameters / facts.parameters
    return [
        f"{top.name} holds {top.parameters:,} of {facts.parameters:,} parameters ({share:.0%}): "
        f"half as many channels there would save about {top.parameters // 2:,}"
    ]


def _unused(facts: Facts, path: list[Layer]) -> list[str]:
    names = sorted(
        {t.layer or t.name for t in facts.tensors if t.role == "parameter" and not t.used}
    )
    if not names:
        return []
    return [
        f"{', '.join(names[:5])}: declared, but nothing of it reaches the output; deleting it "
        f"saves {facts.unused:,} parameters"
    ]


def _bias_before_norm(facts: Facts, path: list[Layer]) -> list[str]:
    """Name biases that the mean which batch norm subtracts takes away again."""
    biases = {t.layer: t.count for t in facts.tensors if t.name.endswith("bias") and t.used}
    found = [
        before.name
        for before, after in pairwise(path)
        if before.kind in _LEARNS and after.kind == "batch norm" and before.name in biases
    ]
    names = list(dict.fromkeys(found))
    if not names:
        return []
    saved = sum(biases[name] for name in names)
    return [
        f"{', '.join(names[:5])}: bias=False changes nothing, because the batch norm behind adds "
        f"its own; it saves {saved:,} parameters"
    ]


def _small_field(facts: Facts, path: list[Layer]) -> list[str]:
    """Name a last convolution that sees less than a whole digit."""
    spatial = [la for la in path if la.receptive_field is not None and la.kind == "convolution"]
    if not spatial:
        return []
    last = spatial[-1]
    seen = min(last.receptive_field or (_DIGIT,))
    if seen >= _DIGIT:
        return []
    return [
        f"{last.name} sees {seen} pixels of the image, a digit is {_DIGIT} wide: pool earlier, or "
        "add a convolution before the last pooling"
    ]


def _late_pooling(facts: Facts, path: list[Layer]) -> list[str]:
    """Say so when most of the work is done at full resolution."""
    full = sum(layer.macs for layer in path if layer.shape[-2:] == [28, 28])
    if facts.macs == 0 or full / facts.macs < 0.8 or facts.macs < 5_000_000:
        return []
    return [
        f"{full / facts.macs:.0%} of the {facts.macs:,} multiply-accumulates are spent at 28×28: "
        "pooling one layer earlier would save up to three quarters of that"
    ]


def _pool_before_output(facts: Facts, path: list[Layer]) -> list[str]:
    """Name max pooling right in front of the averaging, which loses what it would have used."""
    found = [
        before.name
        for before, after in pairwise(path)
        if before.kind == "max pool" and after.kind == "global average pool"
    ]
    return [f"{name}: pooling right before the global average adds nothing" for name in found]


def _dropout_at_the_end(facts: Facts, path: list[Layer]) -> list[str]:
    last = next((i for i in reversed(range(len(path))) if path[i].kind in _LEARNS), None)
    if last is None or last == 0 or path[last - 1].kind != "dropout":
        return []
    return [
        f"{path[last - 1].name} stands right before {path[last].name}, the last layer: in networks "
        "this small it costs more than it helps; drop earlier, or less"
    ]


def _relu_at_the_end(facts: Facts, path: list[Layer]) -> list[str]:
    """Name a ReLU that cuts the scores themselves: a class can then never be argued against."""
    ending = [layer for layer in path if layer.op not in ("log_softmax", "softmax")][-2:]
    if not ending or ending[-1].op not in ("relu", "relu6") or _is_pooled(path, ending[-1]):
        return []
    name = ending[-2].name if len(ending) > 1 else "the last layer"
    return [
        f"a ReLU stands between {name} and the output: scores below zero are cut off, and with "
        "them their gradients; end with the scores themselves"
    ]


def _is_pooled(path: list[Layer], relu: Layer) -> bool:
    """Tell whether an average follows, which turns a map of activations into scores."""
    behind = path[path.index(relu) + 1 :]
    return any(layer.kind in ("global average pool", "average pool") for layer in behind)


def _wide_head(facts: Facts, path: list[Layer]) -> list[str]:
    """Name a linear layer over a flattened map, where an average would do."""
    for before, layer in pairwise(path):
        inputs = layer.parameters // max(layer.shape[-1], 1) if layer.kind == "linear" else 0
        if inputs > 64 and not facts.global_average_pooling and len(before.shape) == 3:
            saved = layer.parameters - layer.shape[-1] * (before.shape[0] + 1)
            return [
                f"{layer.name} reads a whole {before.shape[-2]}×{before.shape[-1]} map: averaging "
                f"it first saves {saved:,} parameters"
            ]
    return []


_RULES: tuple[Callable[[Facts, list[Layer]], list[str]], ...] = (
    _heavy_layers, _unused, _bias_before_norm, _wide_head, _relu_at_the_end, _small_field,
    _late_pooling, _pool_before_output, _dropout_at_the_end,
)  # fmt: skip
