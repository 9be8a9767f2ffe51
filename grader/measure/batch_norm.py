"""Batch normalisation: by the batch in training, by its running statistics in evaluation.

A batch norm counts if its node says so in both graphs, if training can move its running
statistics, if what comes in varies by more than its eps, and if what comes in moves the scores
against each other, in training and in evaluation.
"""

from __future__ import annotations

from grader.measure.bench import Bench
from grader.measure.changes import exchanged, into, noisy
from grader.measure.laboratory import DRAWS
from grader.measure.running import Operation
from grader.plan.arguments import first_read, flag, name_of, number, reference
from grader.plan.drawing import IDLE, UNREAD, UNSEEN, Drawing
from grader.plan.findings import Finding
from grader.plan.schema import Node

LEAST_MOMENTUM = 1e-4
"""The least share of a batch's statistics in the running ones. With less, most of what they began
with is still there after the 8,911 steps of 19 epochs of 128 images.
"""

MOST_EPS = 1.0
"""The most that may be added to a variance. Behind convolutions variances are of the order of 1:
with more, values are hardly scaled by them.
"""

LEAST_VARIANCE = 0.1
"""The least share of the batch's variance in what a batch norm divides by; the rest is its eps."""

_OTHERS = {
    "instance_norm": "instance norm normalises each image by itself, not over the batch",
    "group_norm": "group norm normalises each image by itself, not over the batch",
    "layer_norm": "layer norm normalises each image by itself, not over the batch",
    "rms_norm": "RMS norm scales each image by itself, without the batch",
}


def batch_norms(bench: Bench, train: Drawing, evaluation: Drawing) -> list[Finding]:
    """List every normalisation of the training graph and say whether it is batch norm that acts."""
    found: list[Finding] = []
    for node in train.graph.nodes:
        name = name_of(node)
        if name == "batch_norm":
            twins = [n for n in evaluation.graph.nodes if _statistics(n) == _statistics(node)]
            fault = (
                _fault_in_words(node, train)
                or _fault_in_training(bench, train, node)
                or _fault_in_evaluation(bench, [n for n in twins if name_of(n) == name])
            )
            why = "batch statistics in training, running statistics in evaluation"
            found.append(train.finding(node, "batch norm", fault, why))
        elif name in _OTHERS:
            found.append(train.finding(node, name.replace("_", " "), _OTHERS[name]))
    return found


def _fault_in_words(node: Node, train: Drawing) -> str:
    """Return why a node is no batch norm, by its arguments."""
    statistics = _statistics(node)
    momentum, eps = number(node, "momentum", 0.0), number(node, "eps", 0.0)
    if None in statistics:
        return "it keeps no running statistics (track_running_stats=False)"
    if not flag(node, "training"):
        return "it is frozen: it uses its running statistics in training as well"
    if not set(statistics) <= train.tensors.keys():
        return "its running statistics are made anew in forward, so nothing is remembered"
    if not LEAST_MOMENTUM <= momentum <= 1:
        return f"its momentum is {momentum:g}, so its running statistics never learn"
    if not 0 <= eps <= MOST_EPS:
        return f"its eps is {eps:g}: beside it the variance of the batch hardly matters"
    return ""


def _fault_in_training(bench: Bench, train: Drawing, node: Node) -> str:
    if node.name not in train.wired:
        return UNREAD
    if first_read(node) not in bench.close.of_images("train"):
        return UNSEEN
    if not _is_felt(bench, "train", node):
        return IDLE
    if all(_variance(bench, node, index) < LEAST_VARIANCE for index in DRAWS):
        return "what comes in varies so little that its eps decides: it normalises next to nothing"
    return ""


def _fault_in_evaluation(bench: Bench, twins: list[Node]) -> str:
    """Return why it does not count in evaluation, where `twins` use the same statistics."""
    if not twins:
        return "it is missing in evaluation mode"
    if any(flag(node, "training") for node in twins):
        return "it uses the statistics of the test batch in evaluation mode"
    if not any(_is_felt(bench, "eval", node) for node in twins):
        return "its result is not used for the output in evaluation mode"
    return ""


def _statistics(node: Node) -> tuple[str | None, str | None]:
    """Return the names of a norm's running mean and variance."""
    return reference(node, "running_mean"), reference(node, "running_var")


def _is_felt(bench: Bench, mode: str, node: Node) -> bool:
    """Tell whether what comes into a node moves the scores."""
    return bench.moves("batch norm", mode, *(into(node.name, c) for c in (exchanged, noisy)))


def _variance(bench: Bench, norm: Node, index: int) -> float:
    """Return the variance of what comes in, over variance and eps, where it is largest."""
    shares: list[float] = []

    def look(op: Operation) -> object:
        if op.node.name == norm.name:
            inner = [dim for dim in range(op.args[0].dim()) if dim != 1]
            variance = float(op.args[0].double().var(inner, correction=0).max())
            shares.append(variance / (variance + number(norm, "eps", 0.0) or 1.0))
        return op()

    bench.close.scores("train", bench.close.draw(index), look)
    return max(shares)
