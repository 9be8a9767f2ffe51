"""One measuring process answers many plans, and tells what is wrong with a first step."""

from collections.abc import Iterator

import msgspec
import pytest
import torch.nn.functional as F
from torch import nn

from grader.errors import GraderFault
from grader.measure.asking import Measurer
from grader.plan import schema
from tests.capturing import Net, conv
from tests.plans import plan_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def measurer() -> Iterator[Measurer]:
    """Start one process for all tests."""
    made = Measurer(None, seconds=300, megabytes=4_000)
    yield made
    made.close()


def small() -> Net:
    """Return a network with a dropout."""
    return Net(
        lambda m, x: F.log_softmax(m.drop(m.conv(x)).mean((2, 3)), 1),
        conv=conv(stride=4), drop=nn.Dropout(0.1),
    )  # fmt: skip


def test_one_process_answers_many(measurer: Measurer) -> None:
    """The same plan and seed give the same facts, whatever was measured between."""
    plan, other = plan_of(small()), plan_of(Net(lambda m, x: m.conv(x).mean((2, 3)), conv=conv()))
    first = measurer.measure(plan, step=True, seed=5)
    between = measurer.measure(other)
    again = measurer.measure(plan, step=True, seed=5)

    assert first == again
    assert (first.failed, first.facts.contradictions) == ("", [])
    assert [found.counts for found in first.facts.dropout] == [True]
    assert between.facts.dropout == []


def test_a_step_that_cannot_be_taken_is_told(measurer: Measurer) -> None:
    """What the training would fail at is known before it begins."""
    plan = plan_of(small(), transform=[schema.Resize((14, 14)), schema.ToFloat()])
    narrow = plan_of(Net(lambda m, x: m.line(x.flatten(1)), line=nn.Linear(784, 10)))
    recipe = msgspec.structs.replace(narrow.recipe, train_transform=plan.recipe.train_transform)
    answer = measurer.measure(msgspec.structs.replace(narrow, recipe=recipe), step=True)

    assert "linear" in answer.failed
    assert answer.facts.global_average_pooling == []


def test_a_process_that_died_is_a_fault_of_the_grader() -> None:
    """Its last words are told."""
    made = Measurer(None, seconds=60, megabytes=4_000)
    made._child._process.kill()
    with pytest.raises(GraderFault, match="the measuring process died"):
        made.measure(plan_of(small()))
    made.close()
