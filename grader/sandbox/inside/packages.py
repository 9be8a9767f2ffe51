"""Stand-ins for packages that load far more than the box needs of them."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import logging
import sys
import types
from typing import Any


def stand_in_for_the_unneeded() -> None:
    """Keep PyTorch's compiler and torchvision's models from loading until somebody needs them.

    Together they take longer than PyTorch itself, and a capture needs only a few constants and
    exceptions of the compiler, a schedule none of either.
    """
    _stand_in(
        "torch._dynamo",
        disable=lambda function, *args, **kwargs: function,
        graph_break=lambda *args, **kwargs: None,  # which every step of an optimiser calls
    )
    _stand_in("torch._inductor")
    _stand_in("torch.distributed.tensor", DTensor=type("DTensor", (), {}))  # asked by isinstance
    _stand_in("torchvision")
    sys.modules.setdefault("triton", None)  # type: ignore[arg-type] # None: as if not installed
    # A log for the compiler's developers, which gathers stack traces until it is asked where to.
    logging.getLogger("torch.__trace").handlers.clear()


class StandIn(types.ModuleType):
    """A package whose modules can be imported although its own `__init__` has not run.

    That runs as soon as something is asked for that neither `ready` nor one of the modules can
    give. From then on this is the package as everybody knows it.
    """

    def __init__(self, spec: importlib.machinery.ModuleSpec, ready: dict[str, Any]) -> None:
        """Stand for the package that `spec` finds; `ready` are things in it, by name."""
        super().__init__(spec.name)
        self.__spec__ = spec
        self.__path__ = list(spec.submodule_search_locations or ())
        self.__package__ = spec.name
        self.__file__ = spec.origin
        vars(self)["_ready"] = ready

    def __getattr__(self, name: str) -> Any:
        """Find what the package would hold by that name."""
        if name in self._ready:
            return self._ready[name]
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        if importlib.util.find_spec(f"{self.__name__}.{name}") is not None:
            return importlib.import_module(f"{self.__name__}.{name}")
        self._load()
        return getattr(self, name)

    def _load(self) -> None:
        spec = self.__spec__
        assert spec is not None
        assert spec.loader is not None
        self.__class__ = types.ModuleType  # type: ignore[assignment] # no more guessing
        spec.loader.exec_module(self)


def _stand_in(name: str, **ready: Any) -> None:
    """Put a stand-in in the place of a package, unless it is loaded or not installed."""
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec is None:
        return
    package = sys.modules[name] = StandIn(spec, ready)
    parent, _, leaf = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], leaf, package)
