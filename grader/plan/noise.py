"""Where a network drops values at random in training, and whether it stops in evaluation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from grader.plan.arguments import argument, flag, name_of, number, reads, words
from grader.plan.constants import value_of
from grader.plan.evidence import finding, off_path
from grader.plan.findings import Finding
from grader.plan.geometry import MAX_POOLS, geometry
from grader.plan.path import Trace, is_number
from grader.plan.schema import Node, Ref

DROPOUTS = words("dropout feature_dropout alpha_dropout feature_alpha_dropout native_dropout")
LEAST_SHARE, MOST_SHARE = 1e-3, 0.99
"""Shares of the values between which dropping them is dropout: one in a thousand, all but one in a
hundred. With less a whole batch may lose nothing, with more next to nothing is left to learn from.
"""

RECURRENT = words("lstm gru rnn_tanh rnn_relu")
_COMPARISONS = words("lt le gt ge less less_equal greater greater_equal")
_KEEPS_MASK = words(
    """to _to_copy type_as clone contiguous view expand expand_as reshape unsqueeze squeeze slice
    detach floor pad constant_pad_nd"""
)
_SCALES_MASK = words("div mul true_divide multiply")
_NEGATES_MASK = words("logical_not bitwise_not")
_UNIFORM = words("rand rand_like uniform_")


@dataclass(frozen=True)
class Drop:
    """A node that drops values: the share `p`, if it is `active` in its graph."""

    node: Node
    p: float
    active: bool


def drops(trace: Trace) -> list[Drop]:
    """List dropout operations, and multiplications by a random mask of zeros."""
    masks = _masks(trace)
    return [drop for node in trace.flow.nodes for drop in _drop(trace, node, masks)]


def _drop(trace: Trace, node: Node, masks: dict[str, float]) -> Iterator[Drop]:
    name = name_of(node)
    names = reads(node)
    if name in DROPOUTS:
        if node.name not in masks:
            active = flag(node, "train") or name == "native_dropout"
            yield Drop(node, number(node, "p", 0.5), active)
    elif name == "scaled_dot_product_attention":
        p = number(node, "dropout_p", 0.0)
        if p > 0:
            yield Drop(node, p, active=True)
    elif name in RECURRENT:
        p = number(node, "dropout", 0.0)
        if p > 0 and number(node, "num_layers", 1) > 1:
            yield Drop(node, p, flag(node, "train"))
    elif name in ("mul", "multiply", "where", "masked_fill"):
        shares = [masks[each] for each in names if each in masks]
        if shares and not all(each in masks for each in names):
            yield Drop(node, shares[0], active=True)


class _Mask(NamedTuple):
    """Random zeros and, where `plain`, ones: `share` of them is zero."""

    share: float
    plain: bool = True


def _masks(trace: Trace) -> dict[str, float]:
    """Return the values that are nothing but random zeros, with the share that is zero."""
    masks: dict[str, _Mask] = {}
    for node in trace.flow.nodes:
        mask = _mask(trace, node, masks)
        if mask is not None and node.name not in trace.seen:
            masks[node.name] = mask
    return {name: mask.share for name, mask in masks.items()}


def _mask(trace: Trace, node: Node, masks: dict[str, _Mask]) -> _Mask | None:
    share = _probability(_share(trace, node))
    inputs = [each for each in reads(node) if each not in trace.constants]
    if share is not None:
        return _Mask(share, plain=name_of(node) not in DROPOUTS)
    inputs = [
        each for each in inputs if each not in trace.nodes or not is_number(trace.nodes[each])
    ]
    mask = masks.get(inputs[0]) if len(inputs) == 1 else None
    return _changed(trace, node, mask) if mask is not None else None


def _changed(trace: Trace, node: Node, mask: _Mask) -> _Mask | None:
    """Return what an operation makes of a mask, if it is one still."""
    name = name_of(node)
    if name in _KEEPS_MASK:
        return mask
    if name in _SCALES_MASK:
        return mask._replace(plain=False)
    if not mask.plain:
        return None
    if name in _NEGATES_MASK or (name in ("rsub", "sub") and _is_one_less(trace, node, name)):
        return _Mask(1 - mask.share)
    if name in MAX_POOLS:  # as DropBlock does, to drop whole squares
        sliding = geometry(trace, node)
        return _Mask(mask.share ** math.prod(sliding.kernel)) if sliding else None
    return None


def _is_one_less(trace: Trace, node: Node, name: str) -> bool:
    """Tell whether a node is `1 - mask`."""
    one = argument(node, "other" if name == "rsub" else "self")
    return value_of(one, trace.constants) == 1 and argument(node, "alpha", 1) == 1


def _share(trace: Trace, node: Node) -> float | None:
    """Return the share of zeros in a mask that a node draws."""
    name = name_of(node)
    inputs = [each for each in reads(node) if each not in trace.constants]
    if name in ("bernoulli", "bernoulli_"):
        kept = _known(trace, node, "p", trace.constants.get((reads(node) or [""])[0]))
        return None if kept is None else 1 - kept
    if name in DROPOUTS:
        return number(node, "p", 0.5) if flag(node, "train") and not inputs else None
    if name in _COMPARISONS and len(inputs) == 1 and inputs[0] in trace.nodes:
        bound = _known(trace, node, "other", None)
        uniform = name_of(trace.nodes[inputs[0]]) in _UNIFORM
        if bound is None or not uniform:
            return None
        return bound if name.startswith("g") else 1 - bound
    return None


def _probability(share: float | None) -> float | None:
    """Return a share within 0 and 1, whatever bound a mask was made with; None for NaN."""
    return None if share is None or math.isnan(share) else min(max(share, 0.0), 1.0)


def _known(trace: Trace, node: Node, name: str, default: float | None) -> float | None:
    value = argument(node, name)
    if isinstance(value, Ref):
        return trace.constants.get(value.ref)
    return float(value) if isinstance(value, int | float) else default


def dropouts(train: Trace, evaluation: Trace) -> list[Finding]:
    """List every dropout of the training graph, and of the evaluation graph those left on."""
    left_on = {key: drop for key, drop in _keyed(drops(evaluation)) if drop.active and drop.p > 0}
    found: list[Finding] = []
    for key, drop in _keyed(drops(train)):
        fault = _fault(train, drop)
        if left_on.pop(key, None) is not None and not fault:
            fault = _LEFT_ON
        why = fault or f"drops {drop.p:.3g} of the values in training, none in evaluation"
        found.append(finding(train, drop.node, _what(drop.node), why, counts=not fault))
    found += [
        finding(evaluation, drop.node, _what(drop.node), _LEFT_ON, counts=False)
        for drop in left_on.values()
    ]
    return found


_LEFT_ON = (
    "it still drops values in evaluation: F.dropout(x) is on by default; write "
    "F.dropout(x, p, training=self.training) or use nn.Dropout"
)


def _keyed(found: list[Drop]) -> Iterator[tuple[tuple[str, str, str, int], Drop]]:
    """Give each drop a key that its twin in the other graph has too."""
    times: Counter[tuple[str, str, str]] = Counter()
    for drop in found:
        place = (name_of(drop.node), drop.node.module, drop.node.where)
        yield (*place, times[place]), drop
        times[place] += 1


def _fault(train: Trace, drop: Drop) -> str:
    if not drop.active:
        return "it is switched off in training mode"
    if drop.p <= 0:
        return "p = 0 drops nothing"
    if drop.p >= 1:
        return "p = 1 drops everything"
    if not LEAST_SHARE <= drop.p <= MOST_SHARE:
        much = "next to nothing" if drop.p < LEAST_SHARE else "next to everything"
        return f"p = {drop.p:g} drops {much}: p between {LEAST_SHARE:g} and {MOST_SHARE:g} counts"
    return off_path(train, drop.node)


def _what(node: Node) -> str:
    name = name_of(node)
    return name.replace("_", " ") if name in DROPOUTS else f"dropout by {name}"
