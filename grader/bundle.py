"""`grade gradescope-bundle OUT.zip`: an autograder to upload to Gradescope; see docs/gradescope.md.

In the zip are the grader as a wheel, the versions it has here, the rubric, and what is to be said
of submissions that were graded already, by the hash of their files: Gradescope's containers are too
small to train in. What runs there is `grader.autograder`.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from grader.isolation import PACKAGE
from grader.reporting import found
from grader.reports import gradescope
from grader.reports.given import Results
from grader.rubric import Rubric

NAME = "mnist-grader"
GRADED = "graded"
"""The folder of results that are known, and the name of the rubric's file beside it."""
RUBRIC = "rubric.toml"
_PYTHON = "3.12"
_WHEN = (1980, 1, 1, 0, 0, 0)  # equal results make equal archives

_SETUP = f"""\
#!/usr/bin/env bash
# Run once, when Gradescope builds the image. Its own Python is too old for PyTorch: uv brings one.
set -euo pipefail
cd /autograder/source
export UV_PYTHON_INSTALL_DIR=/opt/python UV_TORCH_BACKEND=cpu
apt-get update
apt-get install -y python3-pip
python3 -m pip install uv
python3 -m uv venv --python {_PYTHON} /opt/grader
python3 -m uv pip install --python /opt/grader/bin/python -c constraints.txt ./*.whl
/opt/grader/bin/grade doctor || true
chmod 700 /autograder/source  # what others got is nothing for a submission to read
"""
_RUN = """\
#!/usr/bin/env bash
exec /opt/grader/bin/python -P -m grader.autograder /autograder
"""


def bundle(rubric: Rubric, source: Path, grades: Path | None) -> tuple[bytes, int]:
    """Return the zip, and how many submissions it knows the results of.

    `source` is the rubric's file, `grades` the results of a class, if there are any. Raises
    GraderFault where a record cannot be read.
    """
    known = dict(_known(rubric, grades)) if grades is not None else {}
    files = {
        "setup.sh": _SETUP.encode(), "run_autograder": _RUN.encode(),
        "constraints.txt": "".join(f"{line}\n" for line in _constraints()).encode(),
        RUBRIC: source.read_bytes(), **_wheel(),
        **{f"{GRADED}/{name}.json": content for name, content in known.items()},
    }  # fmt: skip
    return _zipped(files), len(known)


def _known(rubric: Rubric, grades: Path) -> Iterator[tuple[str, bytes]]:
    """Return what Gradescope is told of each submission that is graded whole, by its hash."""
    graded = found(grades)
    results = Results(tuple(graded), rubric, grades)
    for each in graded:
        digest = each.record.submission.sha256
        if digest and each.record.status == "complete":
            for content in gradescope.files(each, results).values():
                yield digest, content


def _constraints() -> Iterator[str]:
    """Return the versions that the grader's packages have here."""
    for line in importlib.metadata.requires(NAME) or ():
        if "extra ==" not in line and (name := re.match(r"[\w.-]+", line)):
            version = importlib.metadata.version(name[0]).partition("+")[0]  # not `+cpu`
            yield f"{name[0]}=={version}"


def _wheel() -> dict[str, bytes]:
    """Return the grader as a wheel, as it is here: PEP 427."""
    about = importlib.metadata.distribution(NAME)
    name = f"{NAME.replace('-', '_')}-{about.version}"
    files = {
        path.relative_to(PACKAGE.parent).as_posix(): path.read_bytes()
        for path in sorted(PACKAGE.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    info = f"{name}.dist-info"
    entries = about.read_text("entry_points.txt") or ""
    files |= {
        f"{info}/METADATA": (about.read_text("METADATA") or "").encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entries.encode(),
    }
    lines = [f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in files.items()]
    files[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"]).encode()
    return {f"{name}-py3-none-any.whl": _zipped(files)}


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _WHEN)
            script = name in ("setup.sh", "run_autograder")
            entry.external_attr = (0o755 if script else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return made.getvalue()
