"""What would make a network better, each with the figure that says so and what it would save.

Every rule reads the Record and returns words, or nothing. Advice never changes a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from grader.record import Facts, Layer

_LEARNS = ("convolution", "linear")
_MANY = 20_000  # parameters from which on it matters where they sit
_DEAR = 5_000_000  # multiply-accumulates from which on it matters where they are spent


class Network:
    """The layers on the path, and how they hang together."""

    def __init__(self, facts: Facts, subject: int) -> None:
        """Read the facts once for all rules."""
        self.facts = facts
        self.subject = subject
        self.path = [layer for layer in facts.layers if layer.on_path]

    def before(self, layer: Layer) -> list[Layer]:
        """Return the layers whose results a layer works on."""
        return [self.facts.layers[place] for place in layer.reads]

    def last(self, *kinds: str) -> Layer | None:
        """Return the last layer of some kinds."""
        return next((layer for layer in reversed(self.path) if layer.kind in kinds), None)

    def nearest(self, layer: Layer, *kinds: str) -> Layer | None:
        """Go back from a layer, always to the latest it reads, to the first of some kinds."""
        while layer.kind not in kinds and layer.reads:
            layer = self.facts.layers[layer.reads[-1]]
        return layer if layer.kind in kinds else None


def advice(facts: Facts, subject: int) -> list[str]:
    """Return what to try, the largest saving first in each rule.

    What the images show is `subject` pixels wide.
    """
    network = Network(facts, subject)
    return [text for rule in _RULES for text in rule(network)]


def _heavy_layers(network: Network) -> list[str]:
    """Say where the parameters of a network sit that has too many."""
    total = network.facts.parameters
    if total < _MANY:
        return []
    top = sorted(network.path, key=lambda layer: layer.parameters, reverse=True)[:3]
    shares = ", ".join(
        f"{_named(layer)} holds {layer.parameters / total:.0%}" for layer in top if layer.parameters
    )
    if not shares:
        return []
    return [
        f"of {total:,} parameters {shares}: half as many outputs of {_named(top[0])} would save "
        f"about {top[0].parameters // 2:,} there"
    ]


def _unused(network: Network) -> list[str]:
    facts = network.facts
    names = {t.layer or t.name for t in facts.tensors if t.role == "parameter" and not t.used}
    if not names:
        return []
    return [
        f"{_listed(sorted(names))}: declared, but nothing of it reaches the output; deleting it "
        f"saves {facts.unused:,} parameters"
    ]


def _dead_branches(network: Network) -> list[str]:
    """Name what is computed for nothing."""
    dead = [la for la in network.facts.layers if not la.on_path and la.receptive_field != (0, 0)]
    if not dead:
        return []
    macs = sum(layer.macs for layer in dead)
    return [
        f"{_listed([_named(layer) for layer in dead])}: computed, but its result is not used; "
        f"removing it from forward saves {macs:,} of {network.facts.macs:,} multiply-accumulates"
    ]


def _idle_biases(network: Network) -> list[str]:
    """Name biases that move no score in training: batch norm subtracts them with the mean."""
    idle = {t.layer: t.count for t in network.facts.tensors if t.idle and t.name.endswith("bias")}
    rows = [layer for layer in network.path if layer.kind in _LEARNS and layer.name in idle]
    if not rows:
        return []
    saved = sum(idle[name] for name in {row.name for row in rows})
    return [
        f"{_listed([_named(row) for row in rows])}: use bias=False, because the batch norm that "
        f"follows adds its own bias; this saves {saved:,} parameters"
    ]


def _small_field(network: Network) -> list[str]:
    """Say so when what is averaged sees less than an image shows: scores of parts, not of it."""
    pool = network.last("global average pool")
    pooled = network.before(pool) if pool is not None else []
    fields = [layer.receptive_field for layer in pooled]
    widest = max((min(field) for field in fields if field is not None), default=network.subject)
    if pool is None or None in fields or widest >= network.subject:
        return []
    source = network.nearest(pooled[-1], *_LEARNS) or pooled[-1]
    return [
        f"{_named(source)} sees {widest} pixels of the image, but what it shows is "
        f"{network.subject} wide: pool earlier, or add a convolution before the last pooling"
    ]


def _late_pooling(network: Network) -> list[str]:
    """Say so when most of the work is done at full resolution."""
    areas = {id(la): math.prod(la.shape[-2:]) for la in network.path if len(la.shape) == 3}
    largest = max(areas.values(), default=0)
    full = [la for la in network.path if areas.get(id(la)) == largest and la.macs]
    spent, macs = sum(layer.macs for layer in full), network.facts.macs
    if macs < _DEAR or spent < 0.8 * macs or len(full) < 2:
        return []
    size = "×".join(map(str, full[-1].shape[-2:]))
    return [
        f"{spent / macs:.0%} of the {macs:,} multiply-accumulates are spent at {size}: pooling "
        f"before {_named(full[-1])} would save about {3 * full[-1].macs // 4:,} of them"
    ]


def _pool_before_output(network: Network) -> list[str]:
    """Name max pooling with no convolution over places between it and the average."""
    pool = network.last("global average pool")
    before = _only(network.before(pool)) if pool is not None else []
    while before and before[0].kind != "max pool":
        slides = before[0].kind == "convolution" and max(before[0].kernel or [1]) > 1
        before = [] if slides else _only(network.before(before[0]))
    return [
        f"{_named(layer)} comes right before the global average and discards "
        f"{1 - 1 / math.prod(layer.stride or layer.kernel or [1]):.0%} of the values that could be "
        "averaged; remove it, or add a convolution after it"
        for layer in before
        if math.prod(layer.stride or layer.kernel or [1]) > 1
    ]


def _only(layers: list[Layer]) -> list[Layer]:
    """Return the one layer that is read; none where branches meet."""
    return layers if len(layers) == 1 else []


def _dropout_at_the_end(network: Network) -> list[str]:
    last = network.last(*_LEARNS)
    drops = [la for la in network.before(last) if la.kind == "dropout"] if last else []
    if last is None or not drops:
        return []
    summed = last.macs // max(math.prod(last.shape), 1)
    return [
        f"{_named(drops[0])} comes right before {_named(last)}, the last layer, whose outputs are "
        f"sums over only {summed:,} values: use dropout earlier, or a smaller p"
    ]


def _relu_at_the_end(network: Network) -> list[str]:
    """Name a ReLU that cuts the scores themselves: a class can then never be argued against."""
    ending = [layer for layer in network.path if layer.op not in ("log_softmax", "softmax")]
    if not ending or ending[-1].op not in ("relu", "relu6"):
        return []
    before = network.before(ending[-1])
    name = _named(before[-1]) if before else "the last layer"
    return [
        f"a ReLU between {name} and the output cuts off negative scores and their gradients: "
        "remove it"
    ]


def _wide_head(network: Network) -> list[str]:
    """Name a linear layer over a flattened map, where an average would do."""
    if any(finding.counts for finding in network.facts.global_average_pooling):
        return []
    for layer in network.path:
        maps = [la.shape for la in network.before(layer) if len(la.shape) == 3]
        outputs = layer.shape[-1] if layer.shape else 0
        if layer.kind != "linear" or len(maps) != 1 or not outputs:
            continue
        channels, height, width = maps[0]
        saved = layer.parameters - outputs * (channels + 1)
        if height * width > 1 and saved > 0:
            return [
                f"{_named(layer)} reads a whole {height}×{width} feature map: averaging it first "
                f"saves {saved:,} parameters"
            ]
    return []


def _named(layer: Layer) -> str:
    """Return what a person looks for: `conv1`, or `linear 2.3` where a name is but a number."""
    return layer.name if any(map(str.isalpha, layer.name)) else f"{layer.kind} {layer.name}"


def _listed(names: list[str]) -> str:
    names = [*dict.fromkeys(names)]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


_RULES: tuple[Callable[[Network], list[str]], ...] = (
    _heavy_layers, _unused, _dead_branches, _idle_biases, _wide_head, _relu_at_the_end,
    _small_field, _late_pooling, _pool_before_output, _dropout_at_the_end,
)  # fmt: skip
