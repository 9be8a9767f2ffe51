"""An image's scores must not depend on the rest of the batch."""

import pytest

from tests.capturing import facts
from tests.cases.networks.batches import INDEPENDENT, MIXED
from tests.networks import NETWORKS


@pytest.mark.slow
@pytest.mark.parametrize("name", MIXED)
def test_operations_over_the_batch_are_named(name: str) -> None:
    """Whatever lets images affect each other is found."""
    found = facts(MIXED[name]())

    assert not found.batch_independent
    assert found.mixing


@pytest.mark.slow
@pytest.mark.parametrize("name", INDEPENDENT)
def test_operations_within_an_image_are_not(name: str) -> None:
    """Honest networks that move the batch dimension about are left in peace."""
    assert facts(INDEPENDENT[name]()).mixing == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_ordinary_networks_judge_each_image_by_itself(name: str) -> None:
    """No network of the usual kinds is suspected."""
    assert facts(NETWORKS[name]()).batch_independent
