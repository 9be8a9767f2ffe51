"""Calls that build an optimiser or train a model, as far as their names tell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from grader.submission.names import dotted, last
from grader.submission.sites import Site
from grader.submission.values import model_root

OPTIMIZERS = frozenset(
    (
        "SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop",
        "ASGD", "Rprop", "LBFGS", "SparseAdam", "Adafactor", "Muon", "Ranger", "Lion", "LAMB",
        "AdamP", "SGDP",
    )
)  # fmt: skip
_TRAINS = re.compile(
    r"^(train|fit|run|learn|trainer|learner)|(train|fit)(er|ing|ed)?$|_train|train_", re.I
)


def is_optimizer(call: ast.Call) -> bool:
    """Tell whether the call makes an optimiser, as far as its name tells."""
    name = dotted(call.func)
    module = name.startswith(("optim.", "torch.optim.")) and "lr_scheduler" not in name
    return last(call.func) in OPTIMIZERS or module


def handed_over(site: Site) -> Iterator[ast.expr]:
    """Expressions of a call that are the model, if it builds an optimiser or trains."""
    call = site.call
    if is_optimizer(call):
        for node in ast.walk(call):
            if isinstance(node, ast.Call) and last(node.func) in ("parameters", "named_parameters"):
                owner = model_root(node.func, site.scope)
                if owner is not None:
                    yield owner
    elif _TRAINS.search(last(call.func)):
        yield from call.args
        yield from (k.value for k in call.keywords)
