"""Global average pooling is found by what it does."""

import pytest
from torch import nn

from tests.capturing import Net, conv, facts
from tests.cases.networks.poolings import COUNTED, REFUSED


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTED)
def test_global_average_pooling_counts(name: str) -> None:
    """A map that is averaged whole counts, in whatever words."""
    found = facts(COUNTED[name]()).global_average_pooling

    assert any(f.counts for f in found), found


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_only_looks_like_it_does_not_count(name: str) -> None:
    """A near miss is listed, not counted, and the reason is told."""
    make, reason = REFUSED[name]
    found = facts(make()).global_average_pooling

    assert not any(f.counts for f in found), found
    assert any(reason in f.why for f in found), found


def test_the_finding_names_line_and_shapes() -> None:
    """What goes in, what comes out, and where it stands."""
    net = Net(lambda s, x: s.c(x).mean((2, 3)), c=conv())
    (found,) = facts(net).global_average_pooling

    assert (found.before, found.after) == ([10, 26, 26], [10])
    assert "capturing.py, line" in found.where
    assert "26×26" in found.why


def test_flattening_is_no_pooling() -> None:
    """The network the assignment starts from has nothing like it."""
    net = Net(lambda s, x: s.f(s.c(x).flatten(1)), c=conv(), f=nn.Linear(6760, 10))

    assert facts(net).global_average_pooling == []
