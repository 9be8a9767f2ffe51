"""Batch norm is found by what it does."""

import pytest
from torch import nn

from tests.capturing import Net, conv, facts
from tests.cases.networks.batch_norms import COUNTED, REFUSED, pooled


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTED)
def test_batch_norm_that_acts_counts(name: str) -> None:
    """Batch statistics in training, running ones in evaluation, on the path: it counts."""
    found = facts(COUNTED[name]()).batch_norm

    assert [f.counts for f in found] == [True], found


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_only_looks_like_batch_norm_does_not_count(name: str) -> None:
    """A decoy or a near miss is listed, not counted, and the reason is told."""
    make, reason = REFUSED[name]
    (found,) = facts(make()).batch_norm

    assert not found.counts
    assert any(part in found.why for part in reason.split("|")), found.why


def test_declared_and_unused_norm_is_no_finding() -> None:
    """A layer that forward never calls is not in the graph."""
    net = Net(lambda s, x: pooled(s.c(x)), c=conv(), b=nn.BatchNorm2d(10))

    assert facts(net).batch_norm == []
