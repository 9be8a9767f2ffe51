"""Runs a submission and describes what it trains: `grader.plan.schema.Description` as JSON."""

from __future__ import annotations

import inspect
import linecache
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

import commandline
import configured
import fitting
import frames
import lost
import patches
import torch
from attempts import Attempt
from calling import Training
from capture import capture
from data import (
    OWN,
    STANDS,
    Datasets,
    Digits,
    ImageFolder,
    Loader,
    are_datasets,
    ask_for,
    asked,
    stand_in_for_own,
    unwrapped,
)
from explain import explain
from loops import GOES_ON, TURNS
from modules import ENTRY, Failure, Finder, Submission
from noted import Enough, Pass, TooSlow
from observed import Observed
from placeholders import USED, Quiet
from recipe import Recipe, parts_of
from recorded import RecordedPackage, are_recorded
from slices import Sliced
from standins import Bar, be_quiet
from tensors import put, single_precision
from torch import nn
from torchvision import transforms
from trained import Choice, broken, built, choose, required, said_in, trainings
from watch import Watch

Json = dict[str, Any]
SECONDS = 20
__all__ = ["broken", "describe", "run"]


def describe(program: Json, defaults: Json, files: set[str]) -> Json:
    """Describe a Program's model, and of its recipe what it has.

    Raises CannotCapture, or whatever the submission's code raises.
    """
    submission, watch, notes = run(program, files, defaults)
    namespace = vars(submission.loaded[ENTRY])
    choice = choose(program["model"], namespace, watch, submission.failures)
    _put_back(choice.model, watch)
    seen = _shape(choice)
    shape = defaults.get("input_shape") or (list(seen) if len(seen) == 3 else None)
    name, place = type(choice.model).__name__, str(choice.place)
    with single_precision(choice.model):
        captured = capture(choice.model, name, place, files, shape, seen if len(seen) == 2 else ())
    parts, found, observed = {}, {}, None
    if program["recipe"] != "default":
        # What a training has used up is no hook: what was seen of it says more.
        learned = choice.training is not None and bool(choice.training.passes)
        hooks = _speaks(choice) and not learned
        parts = parts_of(namespace, submission.bound, declared=hooks)
        if choice.training is not None:
            observed = Observed(choice.training, watch, submission.failures, defaults, files)
            found = observed.describe(captured.names, captured.classes, parts.get("epochs"))
        if not _speaks(choice):
            parts = {key: part for key, part in parts.items() if key not in found}
    recipe = Recipe(parts, choice.model, defaults, files, found, declared=_speaks(choice))
    found = recipe.describe(captured.names, captured.classes)
    level, why = observed.level() if observed else ("rebuilt", "")
    notes += [*_told(submission, files), *_other_data(choice, program, watch)]
    lent = submission.lent.items()
    notes += [f"`{name}` is not imported in {file}, but in another file" for name, file in lent]
    if program["recipe"] == "default":
        notes.append("the grader's recipe is used, because --recipe default asks for it")
    if program["recipe"] == "own" and "optimizer" not in found:
        missing = "no optimiser for the model was found"
        recipe.flaws.append({"about": "optimizer", "message": missing, "where": place, "help": ""})
    notes += captured.notes + recipe.notes
    if observed is not None:
        notes += observed.notes + (observed.rebuilt_notes if level == "rebuilt" else [])
    return {
        "model": captured.json,
        **found,
        "provenance": [*(observed.facts if observed else []), *recipe.facts],
        "notes": [*notes, *([f"its own loop trains it: {why}"] if why else [])],
        "flaws": recipe.flaws,
        "level": level,
        "own": _own(choice, watch, submission) if level == "sandboxed" else None,
    }


def _other_data(choice: Choice, program: Json, watch: Watch) -> Iterator[str]:
    """Tell where a file trains on other images than those asked for, or on none that were seen."""
    passes = choice.training.passes if choice.training else []
    kinds = [] if choice.declared else [type(each.model) for each in trainings(watch)]
    if others := [kind.__name__ for kind in dict.fromkeys(kinds) if kind is not type(choice.model)]:
        yield f"it also trains {', '.join(others[:5])}; what is trained last counts"
    loaders = [each.loader for each in passes]
    texts = (each["source"] for module in program["modules"] for each in module["statements"])
    would = not choice.declared and any(".backward(" in text for text in texts)
    if (would or choice.training is not None) and not loaders:
        yield "it was not seen to learn from a loader; the grader's recipe fills in what is missing"
    sets = [d for loader in loaders[-1:] for d in unwrapped(loader.dataset)]
    digits = [d for d in sets if isinstance(d, Digits) and not isinstance(d, ImageFolder)]
    names = {type(d).__name__ for d in digits} - {asked.name}
    for name in sorted(names):
        yield f"the file trains on {name}; the grader trains the network on {asked.title}"
    count = max((p.images for p in passes if p.loader is loaders[-1]), default=asked.kind.train)
    if count != asked.kind.train and not names:
        all_of = f"all of {asked.title}'s {asked.kind.train:,}"
        yield f"the file trains on {count:,} images; the grader trains on {all_of}"


def _shape(choice: Choice) -> tuple[int, ...]:
    """Return the shape in which the model was given an image as it learned, or an empty one."""
    batches = choice.training.batches if choice.training is not None else []
    shapes = [batch.shape for batch in batches if batch.model is choice.model]
    return tuple(shapes[-1]) if shapes else ()


def _own(choice: Choice, watch: Watch, submission: Submission) -> Json:
    """Say which training it is, for the run on real images."""
    training = choice.training
    assert training is not None
    modules = [m for m, _ in watch.modules if id(m) not in watch.undone]
    loaders = [loader for loader, _ in watch.loaders if id(loader) not in watch.undone]
    used = [each.loader for each in training.passes]
    passes = [each for each in watch.passes if not isinstance(each.loader, Sliced)]
    return {
        "model": next(i for i, module in enumerate(modules) if module is choice.model),
        "loaders": [i for i, loader in enumerate(loaders) if any(loader is u for u in used)],
        "first": next(i for i, p in enumerate(passes) if p is training.passes[0]),
        "passes_over": submission.passing.used,
    }


def run(
    program: Json, files: set[str], defaults: Json,
    source: Callable[[Watch, Pass], Iterator[Any] | None] | None = None,
) -> tuple[Submission, Watch, list[str]]:  # fmt: skip
    """Run a submission's statements, watched; return what was run, what was seen, and notes.

    With a `source` of real batches it takes the time it takes.
    """
    ask_for(defaults["dataset"])
    sys.meta_path.insert(0, Finder(are_datasets, Datasets))
    be_quiet()
    sys.meta_path.append(Finder(are_recorded, RecordedPackage))
    submission = Submission(program["modules"], ends=(TooSlow,))
    watch = Watch(files, submission.loops, source)
    watch.own = submission.names
    submission.attempted = partial(Attempt, watch)
    submission.passing.on = bool(program["own"] and program["own"]["passes_over"])
    watch.install()
    commandline.get_ready(program, defaults, submission.expects_errors)
    submission.given = _left_out
    configured.IMPORT[:] = [submission.import_]
    submission.builtins |= {"open": lost.opened, "input": commandline.typed}
    submission.builtins["raw_input"] = commandline.typed
    submission.builtins |= {TURNS: watch.turning, GOES_ON: watch.goes_on}
    lost.install()
    stand_in_for_own()
    _put_beside(program)
    for kind in (nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler):
        kind.load_state_dict = lost.without_the_lost(kind.load_state_dict)  # type: ignore[method-assign]
    if source is None:
        patches.note_calls(watch.called)
    notes: list[str] = []
    try:
        with _time_limit() if source is None else nullcontext():
            submission.load(ENTRY)
            _call_train(submission, watch, defaults, alone=source is None)
            notes += _call_what_trains(submission, watch, program["own"])
            _fit(submission, watch, defaults, alone=source is None)
    except TooSlow:
        notes.append(f"it was ended after {SECONDS} s of computing; what was seen so far counts")
    watch.ended()
    if any(isinstance(f.error, Enough) for f in submission.failures):
        notes.append("a loop without end was ended; what was seen until then counts")
    return submission, watch, notes


def _put_beside(program: Json) -> None:
    """Write the settings that were handed in: as seen from the top, and from the file that runs."""
    home = program["home"]
    for name, text in program["settings"].items():
        inner = name.removeprefix(f"{home}/")
        for place in dict.fromkeys([inner, name]):
            with suppress(OSError):
                os.makedirs(os.path.dirname(place) or ".", exist_ok=True)  # noqa: PTH103, PTH120
                with open(place, "x", encoding="utf-8") as file:  # noqa: PTH123
                    file.write(text)


def _left_out(name: str) -> Any:
    """Make what a name that nothing defines speaks of: a bar, a plot, a split, or the data."""
    if name.startswith("tqdm"):
        return Bar
    if name in ("plt", "sns"):
        return Quiet(name)
    if name == "train_test_split":
        return frames.split
    if not name.islower() or not re.search(r"load|_dl$|^dl$|dataset|_set$", name):
        return None
    train = not re.search(r"test|val|eval", name, re.I)
    images = asked.images(train=train)
    return Loader(images, 128) if not re.search(r"dataset|_set$", name, re.I) else images


def _call_train(submission: Submission, watch: Watch, defaults: Json, *, alone: bool) -> None:
    """Call the function `train` of a file that speaks to the grader and does not call it.

    An error ends it `alone`, as a statement of the file, or whoever runs it on real images.
    """
    namespace = vars(submission.loaded[ENTRY])
    name = said_in(namespace)
    function = namespace.get("train")
    if name is None or watch.passes or not inspect.isfunction(function):
        return
    with _failing(submission, alone=alone):
        model = namespace[name] = built(namespace[name], name)
        parts = parts_of(namespace, submission.bound, declared=True)
        Training(function, model, parts, namespace, defaults, watch).run()


def _call_what_trains(submission: Submission, watch: Watch, own: Json | None) -> Iterator[str]:
    """Call what trains by its name, and needs no arguments, of a file that trains nothing.

    On real images, which nobody watches, `own` tells in which pass it trains.
    """
    namespace = vars(submission.loaded[ENTRY])
    for name in [n for n in namespace if _STARTS.fullmatch(n)]:
        function = namespace[name]
        theirs = inspect.isfunction(function) and function.__module__ == "__main__"
        begun = len(watch.passes) > own["first"] if own else not watch.learned_nothing
        if said_in(namespace) or begun or not theirs or required(function):
            continue
        code = function.__code__
        place = {"file": code.co_filename, "line": code.co_firstlineno}
        submission.run({"source": f"{name}()", **place}, submission.loaded[ENTRY])
        yield f"nothing calls `{name}()`, which was called here ({place['file']})"


_STARTS = re.compile(r"main|run|start|(run_?|do_?)?train(ing|_model|_and_\w+)?", re.I)


@contextmanager
def _failing(submission: Submission, *, alone: bool) -> Iterator[None]:
    """Let an error end this `alone`, as it ends a statement of the file; or let it through."""
    try:
        yield
    except TooSlow:
        raise
    except BaseException as error:
        if not alone:
            raise
        submission.failures.append(Failure(error))


def _fit(submission: Submission, watch: Watch, defaults: Json, *, alone: bool) -> None:
    """Fit a Lightning module that says how it is trained, where the file trains nothing."""
    namespace = vars(submission.loaded[ENTRY])
    trained = (watch.real and watch.passes) or not watch.learned_nothing
    if said_in(namespace) is not None or trained:
        return

    def lent() -> Loader:
        images = asked.images(transform=transforms.ToTensor())
        loader = Loader(images, defaults["batch_size"], shuffle=True)
        loader.lent = True
        return loader

    with _failing(submission, alone=alone):
        made = [module for module, _ in watch.modules]
        fitting.fit_what_is_not(namespace, made, lent, defaults["epochs"])


def _told(submission: Submission, files: set[str]) -> list[str]:
    """Tell what did not run, the first few."""
    told = [explain(f.error, files) for f in submission.failures if not isinstance(f.error, Enough)]
    brief = [f"{e['message'].partition(chr(10))[0][:200]} ({e['where']})" for e in told[:3]]
    more = f" and {len(told) - 3} more" if len(told) > 3 else ""
    notes = [f"did not run to its end here: {'; '.join(brief)}{more}"] if brief else []
    if patches.GPU.without:
        notes.append(f"it fails where there is a GPU, and was run without: {patches.GPU.without}")
    notes += [_passed_over(*each, files) for each in [*submission.passing.lines.items()][:5]]
    if lost.LOST:
        names = ", ".join(dict.fromkeys(lost.LOST))
        notes.append(f"{names} was not handed in: the network starts from its initial weights")
    if STANDS:
        names = ", ".join([*STANDS][:5])
        notes.append(f"made-up images of {asked.title} stand for what was not handed in: {names}")
    notes += [
        f"made-up images stand for the data set {name}, which could not be read here: {why}"
        for name, why in OWN.items()
    ]
    notes += commandline.notes()
    if USED:
        notes.append(f"not installed here, and left out: {', '.join([*USED][:5])}")
    return notes


def _passed_over(place: tuple[str, int], error: BaseException, files: set[str]) -> str:
    text, said = linecache.getline(*place).strip()[:80], explain(error, files)["message"]
    reason = said.partition("\n")[0][:200]
    return f"`{text}` fails here and was passed over: {reason} ({place[0]}, line {place[1]})"


def _speaks(choice: Choice) -> bool:
    """Tell whether the file speaks to the grader."""
    return choice.declared or choice.training is None


def _put_back(model: nn.Module, watch: Watch) -> None:
    """Give a model the weights that it had before anything was learned."""
    _, first = watch.first.get(id(model), (model, {}))
    put(model, first)


@contextmanager
def _time_limit() -> Iterator[None]:
    """Interrupt what takes far longer than a few images can; only where there are signals."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: object) -> None:
        raise TooSlow

    # Of CPU time, so that a busy machine changes nothing; and of any time, for what only waits.
    bounds = ((signal.SIGPROF, signal.ITIMER_PROF, 1), (signal.SIGALRM, signal.ITIMER_REAL, 2))
    for number, timer, times in bounds:
        signal.signal(number, stop)
        signal.setitimer(timer, times * SECONDS)
    try:
        yield
    finally:
        for _, timer, _ in bounds:
            signal.setitimer(timer, 0)
