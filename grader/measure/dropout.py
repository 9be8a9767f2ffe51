"""Dropout: values that would not be zero are zero by chance in training, and not in evaluation.

It counts if it drops between a thousandth and all but a hundredth, if nothing like it goes on in
evaluation, and if what it drops moves the scores against each other. Whether the mask is made by
`nn.Dropout` or by hand makes no difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from grader.measure.bench import Bench
from grader.measure.chance import Chance
from grader.measure.changes import at, halved
from grader.measure.laboratory import DRAWS, LEAST, Laboratory, distance, spread
from grader.measure.running import RECURRENT, Operation, copied, replaced
from grader.plan.arguments import DROPOUTS, flag, name_of, number
from grader.plan.drawing import IDLE, UNREAD, UNSEEN, Drawing
from grader.plan.findings import Finding
from grader.plan.schema import Node

LEAST_SHARE, MOST_SHARE = 1e-3, 0.99
"""Shares of the values between which dropping them is dropout: one in a thousand, all but one in a
hundred. With less a whole batch may lose nothing, with more next to nothing is left to learn from.
"""

_AGAIN = 257  # draws of a mask by hand, of which one must be felt, or drop something
_LEFT_ON = (
    "it still drops values in evaluation: F.dropout(x) is on by default; write "
    "F.dropout(x, p, training=self.training) or use nn.Dropout"
)


def dropouts(bench: Bench, train: Drawing, evaluation: Drawing) -> list[Finding]:
    """List what drops values in training, and in evaluation, and say what counts as dropout."""
    left_on = {
        key: node
        for key, (node, share) in _keyed(_dropping(bench.chance(bench.close, "eval"), evaluation))
        if share > 0
    }
    found: list[Finding] = []
    for key, (node, share) in _keyed(_dropping(bench.chance(bench.close, "train"), train)):
        fault = _fault(bench, train, node, share)
        if left_on.pop(key, None) is not None and not fault:
            fault = _LEFT_ON
        why = f"drops {share:.3g} of the values in training, none in evaluation"
        found.append(train.finding(node, _what(node), fault, why))
    left = [evaluation.finding(node, _what(node), _LEFT_ON) for node in left_on.values()]
    return found + left


def _dropping(chance: Chance, drawing: Drawing) -> Iterator[tuple[Node, float]]:
    """Yield what drops values, or is said to, with the share that it drops."""
    by_hand = [
        node for node in drawing.graph.nodes
        if node.name in chance.random & chance.sources and _stated(node) is None
    ]  # fmt: skip
    shares = chance.shares(by_hand)
    for node in drawing.graph.nodes:
        stated = _stated(node)
        if stated is not None and node.name in chance.sources:
            yield node, stated
        elif shares.get(node.name, 0.0) > 0:
            yield node, shares[node.name]


def _stated(node: Node) -> float | None:
    """Return the share that a dropout of PyTorch's is told to drop; None for anything else."""
    name = name_of(node).removesuffix("_")
    if name in DROPOUTS:
        active = flag(node, "train", default=name == "native_dropout")
        return number(node, "p", 0.5) if active else 0.0
    if name == "scaled_dot_product_attention":
        return number(node, "dropout_p", 0.0) or None
    if name in RECURRENT and number(node, "num_layers", 1) > 1:
        return (number(node, "dropout", 0.0) or None) if flag(node, "train") else None
    return None


def _keyed(
    found: Iterable[tuple[Node, float]],
) -> Iterator[tuple[tuple[str, str, str, int], tuple[Node, float]]]:
    """Give each a key that its twin in the other graph has too."""
    times: Counter[tuple[str, str, str]] = Counter()
    for node, share in found:
        place = (name_of(node), node.module, node.where)
        yield (*place, times[place]), (node, share)
        times[place] += 1


def _fault(  # noqa: PLR0911 - one for each reason
    bench: Bench, train: Drawing, node: Node, share: float
) -> str:
    if _stated(node) is not None and not flag(node, "train", default=True):
        return "it is switched off in training mode"
    if share <= 0:
        return "p = 0 drops nothing"
    if share >= 1:
        return "p = 1 drops everything"
    if not LEAST_SHARE <= share <= MOST_SHARE:
        much = "next to nothing" if share < LEAST_SHARE else "next to everything"
        told = f"p = {share:.3g} drops {much}"
        return f"{told}: p between {LEAST_SHARE:g} and {MOST_SHARE:g} counts"
    if node.name not in train.wired:
        return UNREAD
    if node.name not in bench.close.of_images("train"):
        return UNSEEN
    if not bench.moves("dropout", "train", at([node.name], halved)):
        return IDLE
    if _stated(node) is not None:
        return ""
    if not _is_felt(bench.close, bench.chance(bench.close, "train"), train, node):
        return IDLE
    if not all(_drops(bench.chance(each, "train"), node) for each in bench.others):
        return "it drops nothing in batches of the training's size, or late in the training"
    return ""


def _is_felt(laboratory: Laboratory, chance: Chance, train: Drawing, node: Node) -> bool:
    """Tell whether the scores move when a mask by hand is drawn again, wherever it is used."""
    draw = laboratory.draw(DRAWS[0])
    noise = chance.random & chance.alone
    own = train.behind(node.name) & noise
    others = {name for name in noise if not train.behind(name) & own}

    def hook(op: Operation) -> object:
        name = op.node.name
        if _stated(op.node) and name in chance.sources:
            return op.args[0] if name_of(op.node).removesuffix("_") in DROPOUTS else op()
        return replaced(op.node, op(), copied(chance.values[name])) if name in others else op()

    usual = laboratory.scores("train", draw, hook)
    scale = spread(usual) or 1.0
    again = (laboratory.scores("train", draw, hook, seed=draw.seed + n) for n in range(1, _AGAIN))
    return any(distance(usual, scores, otherwise=0.0) > LEAST * scale for scores in again)


def _drops(chance: Chance, node: Node) -> bool:
    return any(chance.shares([node], tries).get(node.name) for tries in (8, _AGAIN))


def _what(node: Node) -> str:
    name = name_of(node).removesuffix("_")
    return name.replace("_", " ") if name in DROPOUTS else f"dropout by {name}"
