"""Models that come from elsewhere: a package, a module that is not there, or nowhere."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from grader.submission.library import is_standard
from grader.submission.names import bound_by_import, last, root
from grader.submission.program import ENTRY
from grader.submission.sites import Site
from grader.submission.slice import effectful
from grader.submission.source import Stmt
from grader.submission.trace import Trace
from grader.submission.values import Value

# Packages from which a whole model may come.
PACKAGES = frozenset(
    [
        "torch",
        "torchvision",
        "timm",
        "torchaudio",
        "monai",
        "kornia",
        "fastai",
        "transformers",
        "efficientnet_pytorch",
    ]
)


_OF_MODELS = re.compile(r"(^|[._])(\w*models?|\w*nets?|architectures?)($|[._])", re.I)


@dataclass
class Missing:
    """Collects where a model may have been meant to come from.

    `lost` are modules that are not there, `undefined` names that nobody defines, with the place
    that uses them.
    """

    trace: Trace
    lost: dict[str, Stmt] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)

    def look(self) -> None:
        """When nothing is lost yet, take missing modules whose names speak of models."""
        self.lost = self.lost or dict(self._likely_sources())

    def foreign(self, value: Value) -> str | None:
        """Give the callable from another package that makes the model, such as `resnet18`."""
        expr = value.expr
        if not isinstance(expr, ast.Call) or effectful(expr):
            return None
        inner = expr.func
        while isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Call):
            inner = inner.value.func  # `make().to(device)`
        name = root(inner) or ""
        module = self._imported_from(name, value.site.scope.module)
        if not module and not self.lost and self._unbound(name, value.site):
            self.undefined.setdefault(name, value.site.stmt.text.where(expr.lineno))
        return last(inner) if module else None

    def _likely_sources(self) -> Iterator[tuple[str, Stmt]]:
        """Give modules that are not there and whose names say that they hold a model."""
        for statement in self.trace.modules.flow(ENTRY).statements:
            if isinstance(statement.node, ast.ImportFrom):
                target = self.trace.modules.target(ENTRY, statement.node)
                known = target.partition(".")[0] in PACKAGES or is_standard(target)
                absent = not known and self.trace.modules.library.find(target) is None
                if absent and _OF_MODELS.search(target):
                    yield target, statement

    def _unbound(self, name: str, site: Site) -> bool:
        """Tell whether nothing binds a name; star imports of what is not there may be to blame."""
        flow = self.trace.modules.flow(site.scope.module)
        if name in flow.writers or name in site.scope.local_names or hasattr(builtins, name):
            return False
        for index in flow.open_stars:
            node = flow.statements[index].node
            assert isinstance(node, ast.ImportFrom)
            target = self.trace.modules.target(site.scope.module, node)
            known = target.partition(".")[0] in PACKAGES or is_standard(target)
            if not known and self.trace.modules.library.find(target) is None:
                self.lost.setdefault(target, flow.statements[index])
        return not self.lost

    def _imported_from(self, name: str, module: str) -> str:
        """Give the module outside the submission that a name is imported from, or nothing."""
        for statement in reversed(self.trace.modules.flow(module).statements):
            node = statement.node
            if (
                not isinstance(node, (ast.Import, ast.ImportFrom))
                or name not in statement.names.binds
            ):
                continue
            if isinstance(node, ast.Import):
                target = next(a.name for a in node.names if bound_by_import(a) == name)
            else:
                target = self.trace.modules.target(module, node)
            if self.trace.modules.library.find(target) is not None:
                return ""
            if target.partition(".")[0] in PACKAGES:
                return target
            self.lost.setdefault(target, statement)
        return ""
