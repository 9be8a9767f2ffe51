"""`--report` and `grade report`: results handed on in other formats, made of what is on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from grader import record as records
from grader.errors import UsageFault
from grader.files import write_atomically
from grader.reports.given import Graded, Results
from grader.reports.registry import FOLDER, FORMATS
from grader.rubric import Rubric


@dataclass(frozen=True)
class Wanted:
    """Which formats somebody asked for by name, and what those need beyond the records."""

    names: tuple[str, ...]
    rubric: Rubric
    out: Path
    data_dir: Path | None = None

    def check(self) -> None:
        """Raise UsageFault where a format of the class could not be made of any results."""
        for name in self.names:
            if FORMATS[name].per == "class":
                FORMATS[name].files(self._of(()))

    def write(self, graded: Sequence[Graded]) -> Iterator[Path]:
        """Write all formats; return the files. Raises GraderFault."""
        results = self._of(graded)
        for name in self.names:
            made = FORMATS[name]
            if made.per == "class":
                yield from _written(results.folder, made.files(results))
            else:
                for each in results.graded:
                    yield from _written(each.folder / FOLDER, made.files(each, results))

    def _of(self, graded: Sequence[Graded]) -> Results:
        return Results(tuple(graded), self.rubric, self.out, self.data_dir)


def found(folder: Path) -> list[Graded]:
    """Return the results below what `--out` named, or in one submission's folder of it.

    Raises UsageFault where there are none, GraderFault where a record cannot be read.
    """
    paths = sorted(folder.glob("*/record.json"))
    if (folder / "record.json").exists():
        paths = [folder / "record.json"]
    if not paths:
        raise UsageFault(
            "there is nothing to report", expected="a folder that `grade` wrote results to",
            found="no record.json in it", where=str(folder), help="name the folder of --out",
        )  # fmt: skip
    return [Graded(records.load(path), path.parent) for path in paths]


def _written(folder: Path, made: Mapping[str, bytes]) -> Iterator[Path]:
    for name, content in made.items():
        write_atomically(folder / name, content)
        yield folder / name
