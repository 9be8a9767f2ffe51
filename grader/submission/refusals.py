"""What is said when a file does not tell which model counts."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grader.errors import SubmissionError
from grader.submission.source import Stmt, Unit
from grader.submission.values import Made, Undecided, Value


@dataclass(frozen=True)
class Candidate:
    """A model of the submission, by the name of its class, its variable or its maker."""

    name: str
    module: str
    statement: Stmt

    @property
    def where(self) -> str:
        """Its place in words."""
        return self.statement.where


class UnknownModel(SubmissionError):
    """`--model` names nothing in a file; another file of the folder may have it."""


def unknown(name: str, known: Sequence[str], label: str) -> UnknownModel:
    """Say that `--model` names nothing in the file."""
    return UnknownModel(
        f"there is no model called {name[:100]}",
        expected="the name of a class, function or variable of the submission",
        found=f"models: {', '.join(known)}" if known else "no model",
        where=label,
        help="check the spelling, or leave --model out",
    )


def ambiguous(candidates: Sequence[Candidate], label: str) -> SubmissionError:
    """Say that there is more than one model, and nothing that decides."""
    name = candidates[-1].name
    return SubmissionError(
        f"there are {len(candidates)} models and nothing says which one to grade",
        expected="one model, or one that the file trains",
        found=_listed(candidates),
        where=label,
        help=f"add one line to the file, `MODEL = {name}()`, or run with `--model {name}`",
    )


def sweep(chosen: Made, rivals: Sequence[Made]) -> SubmissionError:
    """Say that one class is trained side by side with different arguments."""
    listed = [(ast.unparse(made.core)[:80], _where(made.value)) for made in rivals]
    return SubmissionError(
        f"{chosen.class_name} is trained in {len(rivals)} versions side by side",
        expected="one model that the file trains",
        found="; ".join(f"{text} ({where})" for text, where in listed[:20]),
        where=_where(chosen.value),
        help=f"add one line to the file: `MODEL = {listed[0][0]}`, or another of these",
    )


def undecided(reason: Undecided, candidates: Sequence[Candidate]) -> SubmissionError:
    """Say that the trained model is made of values that the text does not state."""
    name = candidates[-1].name if candidates else "Net"
    return SubmissionError(
        "the arguments of the trained model cannot be read from the code",
        expected="one model that the file trains, made from values it states",
        found=f"{reason.reason}; models: {_listed(candidates)}",
        where=reason.where,
        help=f"add one line to the file, such as `MODEL = {name}(...)` with its arguments",
    )


def not_beside(lost: Mapping[str, Stmt], label: str) -> SubmissionError:
    """Say that the model comes from a module that is not there."""
    module, statement = next(iter(lost.items()))
    return SubmissionError(
        f"the model comes from `{module}`, which is not part of the submission",
        expected=f"{module.replace('.', '/')}.py beside {label}",
        found=statement.brief,
        where=statement.where,
        help="submit the folder with all its modules, or a .zip of it; a file is read alone",
    )


def none_found(
    entry: Unit, lost: Mapping[str, Stmt], undefined: Mapping[str, str]
) -> SubmissionError:
    """Say what most likely stands in the way of finding a model."""
    if lost:
        return not_beside(lost, entry.label)
    for error, source in entry.broken:
        if re.search(r"\bclass\b|nn\.", source):
            return error
    if entry.broken:
        return entry.broken[0][0]
    for name, where in undefined.items():
        return SubmissionError(
            f"`{name}`, which the file trains, is defined nowhere",
            expected=f"`class {name}(nn.Module)` in the file, or in a module it imports",
            found=f"no definition of {name} in {entry.label}",
            where=where,
            help="add the cell or the module that defines it, and submit both together",
        )
    return SubmissionError(
        "no model was found",
        expected="a class derived from torch.nn.Module",
        found="none in the code that was read",
        where=entry.label,
        help="define the network as `class Net(nn.Module)`, or add a line `MODEL = ...`",
    )


def _listed(candidates: Sequence[Candidate]) -> str:
    return "; ".join(f"{c.name} ({c.where})" for c in candidates[:20])


def _where(value: Value) -> str:
    return value.site.stmt.text.where(value.expr.lineno)
