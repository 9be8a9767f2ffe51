"""What a Plan says of its network by itself: how many numbers it is made of. No torch."""

from __future__ import annotations

from grader.plan.counting import count_literals, count_tensors
from grader.plan.findings import Facts
from grader.plan.schema import Model


def facts_of(model: Model) -> Facts:
    """Count what a model that `validate_model` accepted is made of; what it does is not known."""
    tensors = count_tensors(model) + count_literals(model)
    return Facts(
        class_name=model.class_name,
        parameters=sum(t.count for t in tensors if t.counted),
        declared=sum(t.count for t in tensors if t.role == "parameter"),
        tensors=tensors,
    )
