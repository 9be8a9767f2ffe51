"""Runs in the box: executes a Program, and answers with a Description or an error.

Run as `python -I .../inside`. The job comes as JSON on standard input, which PyTorch is loaded
ahead of, and which is empty for the submission. The answer is one frame on what was standard
output: eight bytes of length, then JSON. Whatever the submission prints goes to standard error
instead. Nothing of the grader is imported here: an answer is a claim, which the grader checks.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import traceback
import warnings
from typing import Any

Json = dict[str, Any]

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib is not needed here


def main() -> None:
    """Get ready, wait for a job and do it; without one, end."""
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _load()
    given = sys.stdin.buffer.read()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if not given:
        return
    job = json.loads(given.decode("utf-8", "surrogatepass"))
    answer = json.dumps(_answer(job)).encode()
    channel.write(len(answer).to_bytes(8, "big") + answer)
    channel.close()
    sys.stdout.flush()
    os._exit(0)  # threads and exit handlers of the submission have nothing more to say


def _load() -> None:
    """Import what every job needs, before there is one."""
    warnings.simplefilter("ignore")
    gc.disable()  # most of what is made here stays: looking through it again and again is in vain
    import torch  # noqa: F401 - the parent of some that packages stands in for
    from packages import stand_in_for_the_unneeded

    stand_in_for_the_unneeded()
    for name in ("capture", "modules", "patches", "recipe"):
        importlib.import_module(name)
    gc.freeze()
    gc.enable()


def _answer(job: Json) -> Json:
    files = {s["file"] for module in job["program"]["modules"] for s in module["statements"]}
    try:
        return {"description": _describe(job, files)}
    except BaseException as error:  # even SystemExit has to become an answer
        return {"error": _explain(error, files)}


def _describe(job: Json, files: set[str]) -> Json:
    import capture
    import modules
    import patches
    from recipe import Recipe

    sys.path.pop(0)  # from here on nothing of ours is importable by name
    sys.argv[1:] = []  # a submission that parses its command line gets its own defaults
    program = job["program"]
    patches.apply()
    sys.meta_path.append(modules.PlaceholderFinder(program["placeholders"]))
    namespace = vars(modules.Submission(program["modules"]).load("__submission__"))
    model = _build(modules.evaluate(program["model"], namespace, {"device": "cpu"}), program)
    class_name = program["class_name"] or type(model).__name__
    captured = capture.capture(model, class_name, program["model"]["where"], files)
    recipe = Recipe(program, namespace, model, job["defaults"], files)
    found = recipe.describe(captured.names, captured.classes)
    return {
        "model": captured.json,
        **found,
        "provenance": recipe.facts,
        "notes": recipe.notes,
    }


def _build(thing: Any, program: Json) -> Any:
    from tensors import CannotCapture
    from torch import nn

    source = program["model"]["source"]
    if not isinstance(thing, nn.Module) and callable(thing):
        if needed := _required(thing):
            raise CannotCapture(
                f"{source} needs {', '.join(needed)} to be built",
                f"say with which: MODEL = {source}(...)",
            )
        thing = thing()
    if isinstance(thing, nn.Module):
        return thing
    raise CannotCapture(
        f"{source} gives a {type(thing).__name__}, not an nn.Module",
        "end the file with MODEL = YourNetwork()",
    )


def _required(maker: Any) -> list[str]:
    """Return the parameters without which a class or function cannot be called."""
    import inspect

    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in optional]


def _printable(text: str) -> str:
    """Cut a message to length, without halves of characters that JSON cannot carry."""
    return text[:2000].encode("utf-8", "replace").decode()


def _explain(error: BaseException, files: set[str]) -> Json:
    """Say what went wrong, and the innermost line of the submission it went wrong on."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{f.filename}, line {f.lineno}" for f in frames if f.filename in files]
    theirs = isinstance(error, SyntaxError) and error.filename in files
    if isinstance(error, SyntaxError) and theirs:
        places.append(f"{error.filename}, line {error.lineno}")
    kind = type(error).__name__
    own = kind == "CannotCapture"
    meant = own or theirs or kind in ("MissingPackage", "ModuleNotFoundError")
    ours = not meant and bool(frames) and os.path.dirname(frames[-1].filename) == _HERE  # noqa: PTH120
    return {
        "kind": "Tracer" if ours else kind,
        "message": _printable(str(error) if own else f"{kind}: {error}"),
        "where": places[-1] if places else getattr(error, "where", "") if own else "",
        "help": getattr(error, "help", "") if own else "",
    }


if __name__ == "__main__":
    main()
