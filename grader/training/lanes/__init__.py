"""Training on a CPU with an image in each lane of a vector register.

A batch [B, C, H, W] is kept as [B / LANES, C, H, W, LANES]. Whatever is done to one number is done
to those of LANES images at once, so that no lane idles however few channels a layer has, and a
convolution is a stream of multiply-adds of registers.

vectors   a register as a number in compiled code
blocks    the inner loops of convolutions
forward   what is done to a layer: activation and convolution
backward  the ways back through them
geometry  the sizes a convolution has there, and on the way back
arrays    packed arrays, and work on their pieces
layer     a convolution's output with the activation behind it
chain     layers one after another as one step of autograd
packing   finds the chains in a graph
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from pathlib import Path

_HERE = Path(__file__).parent


def _cache() -> Path:
    """Return a folder for compiled code that is this version's own.

    Numba's own rule looks at the file of a function alone, not at those it calls. The home is
    asked of the system: this process has a passing one.
    """
    sources = b"".join(path.read_bytes() for path in sorted(_HERE.glob("*.py")))
    name = f"lanes-{hashlib.sha256(sources).hexdigest()[:16]}"
    if os.access(_HERE, os.W_OK):
        return _HERE / "__pycache__" / name
    if sys.platform != "win32":
        import pwd

        with contextlib.suppress(KeyError):  # containers run users that no file knows
            home = Path(pwd.getpwuid(os.getuid()).pw_dir)
            if os.access(home, os.W_OK):
                return home / ".cache" / "mnist-grader" / name
    return Path(tempfile.mkdtemp(prefix=f"{name}-"))  # nobody else's code is run from there


if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = str(_cache())  # Numba reads it when it is imported
