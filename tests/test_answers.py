"""What networks answer is what was counted in testing, and is found out once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save

from grader import rubric as rubrics
from grader.answers import answers_of
from grader.datasets.mask import Mask
from grader.events import Answers
from grader.plan import schema
from grader.record import Record
from grader.training.answers import Question, answers
from grader.training.loop import train
from tests.capturing import Net, conv
from tests.making import facts
from tests.pages import graded
from tests.plans import patterns, plan_of

RUBRIC = rubrics.load()
ORDER = [3, 0, 1, 2, 4, 5, 6, 9, 8, 7]


def question(mask: Mask | None = None) -> Question:
    """Ask in this process, where no file is read."""
    return Question("", "", 1, probabilities=False, mask=mask)


@pytest.fixture(scope="module")
def plan() -> schema.Plan:
    """Return the plan of a small network."""
    net = Net(lambda m, x: F.log_softmax(m.conv(x).mean((2, 3)), 1), conv=conv(stride=4))
    return plan_of(net)


def test_answers_are_those_that_the_training_counted(plan: schema.Plan) -> None:
    """As many are wrong as in the test after the last epoch; the surest stand first."""
    data = patterns()
    result = train(plan, 1, data, lambda event: None)
    found = answers(plan, result.state, data, question())

    assert len(found.wrong) == result.epochs[-1].test_errors > 0
    assert found.tested == sum(map(sum, found.confusion)) == 100
    assert sum(found.confusion[k][k] for k in range(10)) == 100 - len(found.wrong)
    assert [each.sure for each in found.wrong] == sorted(
        (each.sure for each in found.wrong), reverse=True
    )
    assert all(data.test_labels[each.number] == each.label for each in found.wrong)


def test_under_a_mask_classes_keep_their_own_names(plan: schema.Plan) -> None:
    """A network trained under a mask answers as one that has its outputs in the usual order."""
    data = patterns()
    state = train(plan, 1, data, lambda event: None).state
    masked = {name: torch.empty_like(tensor) for name, tensor in state.items()}
    for name, tensor in state.items():
        masked[name][ORDER] = tensor  # the output of class k stands at ORDER[k]

    assert answers(plan, masked, data, question(Mask(ORDER))) == answers(
        plan, state, data, question()
    )


def test_scores_that_are_no_numbers_are_no_answers(plan: schema.Plan) -> None:
    """An image with such a score is wrong, whatever class would be the largest."""
    data = patterns()
    state = train(plan, 1, data, lambda event: None).state
    state["conv.bias"][0] = torch.nan
    found = answers(plan, state, data, question())

    assert {each.answer for each in found.wrong} == {-1}
    assert [row[-1] for row in found.confusion] == [10] * 10


def stored(folder: Path, plan: schema.Plan, content: bytes) -> tuple[Record, Path]:
    """Write a plan and weights as a training leaves them, and a record of them."""
    encoded = msgspec.json.encode(plan)
    digests = [hashlib.sha256(each).hexdigest() for each in (encoded, content)]
    made = graded(folder, "ada", plan_sha256=digests[0], model=facts())
    (made.folder / "plan.json").write_bytes(encoded)
    (made.folder / "weights.safetensors").write_bytes(content)
    assert made.record.training is not None
    training = msgspec.structs.replace(made.record.training, weights_sha256=digests[1])
    return msgspec.structs.replace(made.record, training=training), made.folder


def test_without_its_weights_a_network_is_not_asked(tmp_path: Path, plan: schema.Plan) -> None:
    """Each reason is told: nothing trained, no end, files missing or changed, other data."""
    record, folder = stored(tmp_path, plan, b"weights")
    other = msgspec.structs.replace(record.data, sha256="", title="Fashion-MNIST")
    assert record.training is not None
    cut = msgspec.structs.replace(record.training, finished=False)

    def why(one: Record) -> str:
        return str(answers_of((one, folder), [], RUBRIC))

    assert why(msgspec.structs.replace(record, training=None)) == "nothing was trained in this run"
    assert "did not get to its end" in why(msgspec.structs.replace(record, training=cut))
    assert "Fashion-MNIST" in why(msgspec.structs.replace(record, data=other))
    (folder / "weights.safetensors").write_bytes(b"others")
    assert why(record) == "weights.safetensors is not the one that this run wrote"
    (folder / "plan.json").unlink()
    assert why(record) == "plan.json is no longer beside the record"


@pytest.mark.slow
def test_a_network_is_asked_once(tmp_path: Path, plan: schema.Plan) -> None:
    """One process answers for all; what it said is kept, and weights that are none are told."""
    state = {tensor.name: torch.zeros(tensor.shape) for tensor in plan.model.tensors}
    good = stored(tmp_path / "good", plan, save(state))
    none = stored(tmp_path / "none", plan, save({"other": torch.zeros(1)}))
    found = answers_of(good, [none, good], RUBRIC)
    (good[1] / "weights.safetensors").unlink()

    assert isinstance(found, Answers)
    assert len(found.wrong) == 10_000 - 980  # zeros, which the first class wins
    assert answers_of(good, [], RUBRIC) == found
    assert "ended with 1: KeyError: 'conv.weight'" in str(answers_of(none, [], RUBRIC))
