"""Dropout is found by what it does."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.capturing import Net, conv, facts
from tests.cases.networks.dropouts import COUNTED, REFUSED, dropped


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTED)
def test_dropout_that_acts_counts(name: str) -> None:
    """Whatever drops values in training only, on the path, counts once."""
    found = facts(COUNTED[name]()).dropout

    assert [f.counts for f in found] == [True], found


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTED)
def test_a_network_with_dropout_is_the_same_in_evaluation(name: str) -> None:
    """Dropout is no difference between training and evaluation."""
    found = facts(COUNTED[name]())

    assert found.same_network, found.difference


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_only_looks_like_dropout_does_not_count(name: str) -> None:
    """A decoy or a near miss does not count, and the reason is told."""
    make, reason = REFUSED[name]
    found = facts(make()).dropout

    assert not any(f.counts for f in found)
    assert all(reason in f.why for f in found), found


def test_gaussian_noise_is_no_dropout() -> None:
    """Noise that is added or multiplied, but drops nothing, is not taken for dropout."""
    net = Net(lambda s, x: (s.c(x) * torch.randn_like(s.c(x))).mean((2, 3)), c=conv())

    assert facts(net).dropout == []


def test_dropout_on_in_evaluation_alone_is_found() -> None:
    """A dropout that only evaluation has is listed and not counted."""
    net = Net(
        lambda s, x: (s.c(x) if s.training else F.dropout(s.c(x), 0.5)).mean((2, 3)), c=conv()
    )
    (found,) = facts(net).dropout

    assert not found.counts
    assert "evaluation" in found.why


@pytest.mark.parametrize("bound", [1e200, -1e200, math.inf, math.nan])
def test_a_mask_of_any_bound_is_read(bound: float) -> None:
    """A bound beyond all random numbers makes a mask of one value, whatever pools it."""
    net = Net(
        lambda s, x: (s.c(x) * F.max_pool2d((torch.rand_like(s.c(x)) < bound).float(), 3, 1, 1))
        .mean((2, 3)),
        c=conv(),
    )  # fmt: skip

    assert not any(found.counts for found in facts(net).dropout)


@pytest.mark.parametrize("p", [0.001, 0.05, 0.5, 0.99])
def test_the_share_dropped_is_told(p: float) -> None:
    """The reason names p."""
    (found,) = facts(dropped(nn.Dropout(p))).dropout

    assert math.isclose(float(found.why.split()[1]), p)
