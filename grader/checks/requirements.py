"""The requirements of the assignment, one function each; docstrings are the titles students see."""

from __future__ import annotations

import math
from collections.abc import Iterator

from grader.checks import accuracy as by_runs
from grader.checks.knowledge import ADVICE, from_answers, knowledge, places
from grader.checks.sandboxed import suspicions
from grader.checks.verdict import NotJudged, Requirement, Verdict, verdict
from grader.record import (
    Facts,
    Finding,
    Flaw,
    Metered,
    Problem,
    Record,
    Training,
    TrainingRun,
)
from grader.rubric import Rubric


def loads(record: Record, rubric: Rubric) -> Verdict:
    """Loads."""  # noqa: D401 - a title, as the others are
    problem = record.problem
    early = problem is not None and problem.stage != "train"
    if problem is not None and early and not problem.is_scored:
        raise NotJudged(_in_a_line(problem))
    if problem is not None and early:
        return verdict(
            False, expected=problem.expected or "a model that can be built and traced",
            found=problem.found, where=problem.where, message=problem.message,
            help=problem.help,
        )  # fmt: skip
    facts = _facts(record)
    return verdict(True, expected="one model", found=f"class {facts.class_name}")


def parameter_count(record: Record, rubric: Rubric) -> Verdict:
    """Parameters."""
    facts = _facts(record)
    limit = rubric.limits.parameters
    largest = sorted(facts.tensors, key=lambda t: t.count, reverse=True)[:3]
    return verdict(
        facts.parameters < limit,
        expected=f"fewer than {limit:,}",
        found=f"{facts.parameters:,}{_apart(facts)}",
        where="most in " + ", ".join(f"{t.name} ({t.count:,})" for t in largest),
        message=f"the network has {facts.parameters - limit + 1:,} parameters too many",
        help="use fewer channels in the layers named, and global average pooling instead of "
        "large linear layers; delete layers that are declared but not used",
    )


def _apart(facts: Facts) -> str:
    """Name what is counted and is no parameter in use: unused ones, buffers and constants."""
    others = [t for t in facts.tensors if t.counted and t.role != "parameter"]
    named = ", ".join(f"{t.role} {t.name} ({_shape(t.shape)})" for t in others[:3])
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return f", {facts.unused:,} of them unused" * bool(
        facts.unused
    ) + f", {sum(t.count for t in others):,} in {named}{more}" * bool(others)


def test_accuracy(record: Record, rubric: Rubric) -> Verdict:
    """Test accuracy."""
    facts = _facts(record)
    limit = rubric.limits.accuracy
    most = rubric.limits.trained_parameters
    expected = by_runs.expected(rubric.limits)
    flaws = record.recipe.flaws if record.recipe else []
    if (early := _of_training(record.problem, expected) or _of_recipe(flaws)) is not None:
        return early
    if facts.parameters > most:
        raise NotJudged(
            f"networks of more than {most:,} parameters are not trained; reduce the number of "
            f"parameters first (there are {facts.parameters:,})"
        )
    if record.accuracy is None or record.recipe is None:
        raise NotJudged("there is no finished epoch to judge")
    if told := next(from_answers(record, rubric), ""):
        raise NotJudged(f"the accuracy is not believed: {told}")
    accuracy, started = record.accuracy, record.training
    budget = rubric.limits.epochs - 1
    planned = started.planned_epochs if started else min(record.recipe.epochs, budget)
    last, alone = max(len(run.curve) for run in accuracy.runs), len(accuracy.runs) == 1
    plain = rubric.limits.judged_by != "evidence"
    return verdict(
        by_runs.reached(accuracy, rubric.limits),
        expected=by_runs.expected(rubric.limits, len(accuracy.runs)),
        found=by_runs.found(accuracy, rubric.limits),
        where=f"epoch {last} of {planned}; best {'' if alone else 'in the mean '}"
        f"{accuracy.best:.2f}%",
        message=by_runs.shortage(accuracy, rubric.limits),
        help=by_runs.first_help(accuracy)
        or _how_to_improve(by_runs.was_better(accuracy, limit), last, budget)
        + "; --runs 5 says more than one run" * (plain and alone and accuracy.unsure(limit)),
    )


def batch_normalization(record: Record, rubric: Rubric) -> Verdict:
    """Batch normalisation."""
    return _judge_layer(
        record, _facts(record).batch_norm, "batch normalisation",
        add="add nn.BatchNorm2d after a convolution, and call it in forward",
        correct="use nn.BatchNorm2d unchanged in training and in evaluation, and let the next "
        "layers use its result: x = self.bn(x)",
    )  # fmt: skip


def dropout(record: Record, rubric: Rubric) -> Verdict:
    """Dropout."""
    return _judge_layer(
        record, _facts(record).dropout, "dropout",
        add="add nn.Dropout with a small p, and call it in forward",
        correct="use nn.Dropout with a small p, which evaluation switches off, and let the next "
        "layers use its result: x = self.dropout(x)",
    )  # fmt: skip


def global_average_pooling(record: Record, rubric: Rubric) -> Verdict:
    """Global average pooling."""
    return _judge_layer(
        record, _facts(record).global_average_pooling, "global average pooling",
        add="end the convolutions with nn.AdaptiveAvgPool2d(1), or x.mean((2, 3))",
        correct="average the whole last feature map with nn.AdaptiveAvgPool2d(1) or "
        "x.mean((2, 3)), and compute the scores from the result",
    )  # fmt: skip


def epoch_budget(record: Record, rubric: Rubric) -> Verdict:
    """Epochs."""
    _facts(record)
    if record.recipe is None:
        raise NotJudged("the recipe is not known")
    if (flawed := _of_recipe([f for f in record.recipe.flaws if f.about == "epochs"])) is not None:
        return flawed
    limit = rubric.limits.epochs
    declared = record.recipe.epochs
    source = next((f.where for f in record.recipe.facts if f.about == "epochs"), "")
    counted = _counted(record)
    more = any(metered.past_budget for _, metered in _meters(record))
    found = f"{declared} declared" + (f", {counted} counted" if counted else "")
    return verdict(
        declared < limit and counted < limit and not more,
        expected=f"fewer than {limit}",
        found=found + (", and more asked for" if more else ""),
        where=source,
        message=f"the recipe declares {declared} epochs"
        if declared >= limit
        else f"the training was stopped when it asked for more than {limit - 1} epochs",
        help=f"set EPOCHS to {limit - 1} or less; the learning rate should reach its end by then",
    )


def integrity(record: Record, rubric: Rubric) -> Verdict:
    """Integrity."""
    facts = _facts(record)
    doubts = list(_doubts(facts))
    ours = record.training if record.level == "rebuilt" else None
    miscounted = list(_miscounted(record, ours)) if ours else []
    of_loop = [
        name + suspicion for name, metered in _meters(record) for suspicion in suspicions(metered)
    ]
    known = list(knowledge(record, rubric))
    found = [*doubts, *miscounted, *of_loop, *known]
    if not found and (why := _unmeasured(record)):
        raise NotJudged(why)
    return verdict(
        not found,
        expected="the trained network is tested, each image by itself",
        found="; ".join(found) or _sound(record),
        where=", ".join(
            [*_places_of_doubt(record, facts, doubts, of_loop), *places(record, known)]
        ),
        message="the test result cannot be trusted",
        help="; ".join(
            [_HONEST_FORWARD] * bool(doubts)
            + [_OURS] * bool(miscounted)
            + [_HONEST_TRAIN] * bool(of_loop)
            + [ADVICE] * bool(known)
        ),
    )


def _sound(record: Record) -> str:
    """Say what was trained and tested, by whom, where nothing speaks against it."""
    trained = record.training is not None or record.accuracy is not None
    if record.level == "rebuilt":
        network = "rebuilt network trained by the grader" if trained else "rebuilt network"
    else:
        network = "own training loop, measured by the grader" if trained else "own training loop"
    return f"{network}{'' if trained else ', not trained in this run'}; images judged independently"


_HONEST_FORWARD = (
    "let forward do the same in both modes, apart from dropout and batch norm; let no operation "
    "run over the batch dimension"
)
_OURS = "the grader counts these images itself: please report this, with record.json"
_HONEST_TRAIN = (
    "let train start from the weights it is given, use each batch it draws once, and learn from "
    "nothing else; the grader runs a plain loop itself and has no such doubts"
)


def _forward(record: Record) -> str:
    """Return where a network's forward stands: the class, and where the file makes the model."""
    facts = record.recipe.facts if record.recipe else []
    places = [f" ({f.where})" for f in facts if f.about == "model"]
    return f"forward of class {_facts(record).class_name}{''.join(places[:1])}"


def _places_of_doubt(
    record: Record, facts: Facts, doubts: list[str], of_loop: list[str]
) -> list[str]:
    """Return where to look: lines that mix images, or the function that was doubted."""
    mixing = list(dict.fromkeys(m.where for m in facts.mixing[:3] if m.where))
    forward = mixing or [_forward(record)]
    return forward * bool(doubts) + ["train"] * bool(of_loop)


def _unmeasured(record: Record) -> str:
    """Say why a training cannot be believed: it was not measured to its end."""
    if record.level == "rebuilt":
        lost = record.training is None and record.accuracy is not None
        return "the first run did not begin: the size of an epoch is not known" if lost else ""
    problem = record.problem
    failed = problem is not None and problem.stage == "train"
    if not failed and record.training is None and record.accuracy is None:
        return ""
    meters = [metered for _, metered in _meters(record)]
    if not meters:
        return "the training did not finish: it was not measured"
    if any(metered.canary_errors is None for metered in meters):
        return "the short control training on shuffled labels finished no pass"
    return ""


def _facts(record: Record) -> Facts:
    """Return the facts of the network, or end the check when there are none to judge."""
    if record.model is None:
        raise NotJudged("the submission did not load")
    return record.model


def _counted(record: Record) -> int:
    """Return how many times all training images were drawn, rounded up, in the longest run.

    Where the first run did not begin, finished epochs are all that is known.
    """
    trained = record.training
    if trained is None:
        return max((len(run.curve) for run in _runs(record)), default=0)
    drawn = [trained.samples_seen, *(run.samples_seen for run in _runs(record))]
    return math.ceil(max(drawn) / trained.samples_per_epoch)


def _miscounted(record: Record, trained: Training) -> Iterator[str]:
    """Say where a run drew other samples than its finished epochs hold."""
    drawn = {(len(trained.epochs), trained.samples_seen)} if trained.epochs else set()
    drawn |= {(len(run.curve), run.samples_seen) for run in _runs(record) if run.curve}
    for epochs, samples in sorted(drawn):
        if samples != (expected := epochs * trained.samples_per_epoch):
            yield f"{samples:,} samples were drawn instead of {expected:,}"


def _runs(record: Record) -> list[TrainingRun]:
    return record.accuracy.runs if record.accuracy else []


def _meters(record: Record) -> Iterator[tuple[str, Metered]]:
    """Yield what was measured in each run, and what to call the run."""
    if record.metered is not None:
        yield "", record.metered
    for number, run in enumerate(_runs(record), start=1):
        if number > 1 and run.metered is not None:
            yield f"in run {number} ", run.metered


def _judge_layer(
    record: Record, findings: list[Finding], name: str, *, add: str, correct: str
) -> Verdict:
    """Pass if any finding counts and was seen to act; otherwise tell why each one does not.

    What to try is to `add` such a layer where there is none, or to `correct` what there is.
    """
    good = [f for f in findings if f.counts]
    reasons = "; ".join(f"{_called(f)} ({_shapes(f)}): {f.why}" for f in findings)
    return verdict(
        bool(good),
        expected="at least one that acts on the output",
        found=_named(good) if good else reasons or "none",
        where=", ".join(dict.fromkeys(f.where for f in (good or findings) if f.where))
        or _forward(record),
        message=f"no {name} acts on the network's output"
        if findings
        else f"forward uses no {name}",
        help=correct if findings else add,
    )


def _named(findings: list[Finding]) -> str:
    """List layers by name and shape: `bn1 (10×7×7)`; `batch norm 4` where a name is a number."""
    names = [f.name if any(map(str.isalpha, f.name)) else f"{f.what} {f.name}" for f in findings]
    shown = [f"{name} ({_shapes(f)})" for name, f in zip(names, findings, strict=True)]
    return ", ".join(shown[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _called(finding: Finding) -> str:
    """Return what a layer is and its name, once where they are the same."""
    same = finding.what == finding.name.replace("_", " ")
    return finding.what if same else f"{finding.what} {finding.name}"


def _shapes(finding: Finding) -> str:
    """Return what goes in and what comes out: `10×7×7 → 10×1×1`, or once if it stays."""
    return " → ".join(dict.fromkeys([_shape(finding.before), _shape(finding.after)]))


def _shape(sizes: list[int]) -> str:
    return "×".join(map(str, sizes)) or "1"


def _in_a_line(problem: Problem) -> str:
    return f"{problem.message}: {problem.found}" if problem.found else problem.message


def _of_training(problem: Problem | None, expected: str) -> Verdict | None:
    """Return a failure if the training ended early by the submission's doing."""
    if problem is None or problem.stage != "train":
        return None
    if not problem.is_scored:
        raise NotJudged(_in_a_line(problem))
    return verdict(
        False, expected=problem.expected or expected, found=problem.found, where=problem.where,
        message=problem.message, help=problem.help,
    )  # fmt: skip


def _of_recipe(flaws: list[Flaw]) -> Verdict | None:
    """Return a failure if a part of the recipe that the file declares cannot be used."""
    if not flaws:
        return None
    names = ", ".join(dict.fromkeys(f.about for f in flaws))
    return verdict(
        False, expected="a recipe that the grader can use",
        found="; ".join(f"{f.about}: {f.message}" for f in flaws),
        where=", ".join(dict.fromkeys(f.where for f in flaws if f.where)),
        message=f"the recipe in the file cannot be used: {names}",
        help="; ".join(dict.fromkeys(f.help for f in flaws if f.help))
        or "run the line named, or leave it out: then the grader's recipe is used",
    )  # fmt: skip


def _how_to_improve(was_better: bool, last: int, most: int) -> str:
    if was_better:
        return "an earlier epoch was good enough: let the learning rate fall to zero by the end"
    more = f"train for up to {most} epochs; " if last < most else ""
    return (
        f"{more}try a one-cycle schedule with a higher peak, light augmentation (rotation of 7°, "
        "shift of 10 %), less dropout, and more channels where the parameters allow"
    )


def _doubts(facts: Facts) -> list[str]:
    doubts = []
    if not facts.same_network:
        shown = "; ".join(facts.difference[:2])
        more = f" and {len(facts.difference) - 2} more" if len(facts.difference) > 2 else ""
        doubts.append(f"in evaluation the network is not the one trained: {shown}{more}")
    if not facts.batch_independent:
        mixed = ", ".join(f"{m.op} ({m.where or m.name}): {m.why}" for m in facts.mixing[:3])
        doubts.append(f"images of a batch affect each other: {mixed}")
    return doubts + facts.contradictions[:3]


REQUIREMENTS = (
    Requirement(loads, needs="description"),
    Requirement(parameter_count, needs="description"),
    Requirement(batch_normalization, needs="description"),
    Requirement(dropout, needs="description"),
    Requirement(global_average_pooling, needs="description"),
    Requirement(test_accuracy, needs="training"),
    Requirement(epoch_budget, needs="everything"),
    Requirement(integrity, needs="everything"),
)
"""All of them, in the order of the report."""
