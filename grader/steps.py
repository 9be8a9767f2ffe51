"""The steps from a path to what a network does, each a function of what it needs.

read ─> describe ─> complete ─> measure ─> examine
text    sandbox     plan        process    record
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from grader import record as records
from grader.datasets.known import Dataset
from grader.errors import SubmissionError, blaming_data
from grader.plan.assemble import assemble, request_defaults
from grader.plan.content import in_order
from grader.plan.findings import Facts
from grader.plan.fixed import fixed_values
from grader.plan.images import shape_after, validate_images
from grader.plan.initial import drawn_together, kept_short, notes_on_initialisation
from grader.plan.schema import Description, Flaw, Plan
from grader.plan.validate import validate_model, validate_recipe
from grader.record import Record
from grader.request import Request
from grader.rubric import Rubric
from grader.sandbox.describe import Box
from grader.submission.apart import read_apart
from grader.submission.program import Program, Statement


def box(rubric: Rubric, stop: Callable[[], bool]) -> Box:
    """Start a box for a description, which loads PyTorch at once; `stop` ends it early."""
    return Box(seconds=rubric.seconds.describe, megabytes=rubric.megabytes.describe, stop=stop)


def read(path: Path, request: Request) -> Program:
    """Read the submission into statements; runs nothing."""
    return read_apart(path, model=request.model, recipe=request.recipe)


def described(program: Program, request: Request, first: Box) -> Description:
    """Let the submission describe itself in the sandbox.

    It does so again, in another one, where its transforms make images of another size than that
    which its network took first.
    """
    rubric = request.rubric
    budget = rubric.limits.epochs - 1
    defaults = request_defaults(budget, rubric.data)
    found = first.describe(program, defaults)
    if (shape := _images(found, budget, rubric.data)) != found.model.input_shape:
        with contextlib.closing(box(rubric, first.stop)) as another:
            if request.official:
                another.protections().require()
            found = another.describe(program, defaults | {"input_shape": shape})
    return found


def make_plan(found: Description, program: Program, rubric: Rubric) -> Plan:
    """Complete and check what a submission says of itself."""
    with blaming_data("the submission's description of itself"):
        return complete(found, program, rubric)


def _images(found: Description, budget: int, dataset: Dataset) -> list[int]:
    """Return the shape [C, H, W] in which training images reach the network."""
    with blaming_data("the submission's description of itself"):
        validate_model(found.model, dataset)
        return shape_after(assemble(found, budget, dataset), "train_transform", dataset)


def complete(found: Description, program: Program, rubric: Rubric) -> Plan:
    """Return the plan of a description: completed, checked, and with what is wrong in it noted.

    Raises SubmissionError where the network cannot be used; a recipe that cannot is a flaw.
    """
    dataset = rubric.data
    validate_model(found.model, dataset)
    budget = rubric.limits.epochs - 1
    plan = assemble(found, budget, dataset)
    if plan.level == "sandboxed" and rubric.limits.rebuilt:
        note = "the rubric asks for the grader's own loop: the recipe is trained without the rest"
        plan = msgspec.structs.replace(plan, level="rebuilt", notes=[*plan.notes, note])
    if plan.level == "sandboxed":
        plan = msgspec.structs.replace(plan, code_sha256=code_sha256(program))
    validate_images(plan, dataset)
    try:
        validate_recipe(plan.recipe, plan.model, budget, dataset)
    except SubmissionError as error:
        flaw = Flaw("recipe", f"{error.message}: {error.found}", error.where, error.help)
        plan = msgspec.structs.replace(plan, flaws=[*plan.flaws, flaw])
    return msgspec.structs.replace(plan, model=kept_short(drawn_together(in_order(plan.model))))


def code_sha256(program: Program) -> str:
    """Hash what the submission's own training runs, without comments and places."""
    code = [[module.name, *map(_plain, module.statements)] for module in program.modules]
    return hashlib.sha256(msgspec.json.encode(code)).hexdigest()


def _plain(statement: Statement) -> str:
    try:
        return ast.unparse(ast.parse(statement.source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return statement.source


def examine(record: Record, plan: Plan, measured: Facts) -> Record:
    """Add to the record what is known before a training: architecture and recipe."""
    recipe = records.RecipeSummary(
        plan.recipe.epochs, plan.recipe.batch_size, plan.provenance, plan.flaws
    )
    flaws = [f"{f.about} cannot be used: {f.message} ({f.where})" for f in plan.flaws]
    notes = record.notes + list(plan.notes) + flaws
    if plan.level == "rebuilt":
        notes += notes_on_initialisation(plan.model)
    return records.update(
        record, model=measured, recipe=recipe, fixed=fixed_values(plan), notes=notes,
        level=plan.level,
    )  # fmt: skip
