"""Whose fault a failure is."""

from concurrent.futures import CancelledError

import pytest

from grader.errors import GraderFault, SubmissionError, blaming_data


@pytest.mark.parametrize(
    "error", [OverflowError, RecursionError, KeyError, TypeError, AssertionError]
)
def test_what_data_of_a_submission_breaks_is_its_own_fault(error: type[Exception]) -> None:
    """Code of the grader that such data makes fail does not make the grader at fault."""
    with pytest.raises(SubmissionError) as caught, blaming_data("the description"):
        raise error("something")

    assert caught.value.message == "the description cannot be used"
    assert error.__name__ in caught.value.found


@pytest.mark.parametrize(
    "error", [OSError("no space"), MemoryError(), GraderFault("ours"), CancelledError()], ids=repr
)
def test_what_the_machine_lacks_stays_the_graders_fault(error: Exception) -> None:
    """A full disk, or a run that was stopped, is not the submission's, whatever was being read."""
    with pytest.raises(type(error)), blaming_data("the description"):
        raise error
