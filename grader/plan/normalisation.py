"""Where a network normalises with the statistics of a batch, and where it only seems to."""

from __future__ import annotations

from grader.plan.arguments import flag, name_of, number, reference
from grader.plan.evidence import finding, off_path
from grader.plan.findings import Finding
from grader.plan.path import Trace
from grader.plan.schema import Node

LEAST_MOMENTUM = 1e-4
"""The least share of a batch's statistics in the running ones. With less, most of what they began
with is still there after the 8,911 steps of 19 epochs of 128 images.
"""

MOST_EPS = 1.0
"""The most that may be added to a variance. Behind convolutions variances are of the order of 1:
with more, values are hardly scaled by them.
"""

_OTHERS = {
    "instance_norm": "instance norm normalises each image by itself, not over the batch",
    "group_norm": "group norm normalises each image by itself, not over the batch",
    "layer_norm": "layer norm normalises each image by itself, not over the batch",
    "rms_norm": "RMS norm scales each image by itself, without the batch",
}


def batch_norms(train: Trace, evaluation: Trace) -> list[Finding]:
    """List every normalisation of the training graph and say whether it is batch norm that acts."""
    twins: dict[tuple[str | None, str | None], list[Node]] = {}
    for node in evaluation.flow.nodes:
        if name_of(node) == "batch_norm":
            twins.setdefault(_statistics(node), []).append(node)
    found: list[Finding] = []
    for node in train.flow.nodes:
        name = name_of(node)
        if name == "batch_norm":
            fault = _fault(node, train) or _fault_in_evaluation(
                twins.get(_statistics(node), []), evaluation
            )
            why = "batch statistics in training, running statistics in evaluation"
            found.append(finding(train, node, "batch norm", fault or why, counts=not fault))
        elif name in _OTHERS:
            found.append(finding(train, node, name.replace("_", " "), _OTHERS[name], counts=False))
    return found


def _statistics(node: Node) -> tuple[str | None, str | None]:
    """Return the names of a norm's running mean and variance."""
    return reference(node, "running_mean"), reference(node, "running_var")


def _fault(node: Node, train: Trace) -> str:
    """Return why a batch norm does not count in the training graph; empty if it does."""
    statistics = _statistics(node)
    if fault := off_path(train, node):
        return fault
    if None in statistics:
        return "it keeps no running statistics (track_running_stats=False)"
    if not flag(node, "training"):
        return "it is frozen: it uses its running statistics in training as well"
    if not set(statistics) <= train.tensors.keys():
        return "its running statistics are made anew in forward, so nothing is remembered"
    return _fault_in_numbers(number(node, "momentum", 0.0), number(node, "eps", 0.0))


def _fault_in_numbers(momentum: float, eps: float) -> str:
    if not LEAST_MOMENTUM <= momentum <= 1:
        return f"its momentum is {momentum:g}, so its running statistics never learn"
    if not 0 <= eps <= MOST_EPS:
        return f"its eps is {eps:g}: beside it the variance of the batch hardly matters"
    return ""


def _fault_in_evaluation(twins: list[Node], evaluation: Trace) -> str:
    """Return why it does not count in evaluation, where `twins` use the same statistics."""
    if not twins:
        return "it is missing in evaluation mode"
    if any(flag(node, "training") for node in twins):
        return "it uses the statistics of the test batch in evaluation mode"
    if not any(evaluation.on_path(node) for node in twins):
        return "its result is not used for the output in evaluation mode"
    return ""
