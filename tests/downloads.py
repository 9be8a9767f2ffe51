"""The same class of students as each system downloads it: names of files, and their contents."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

Tree = dict[str, bytes]
"""Contents by name, with `/` between folders."""


@dataclass(frozen=True)
class Student:
    """What all downloads are made from; `earlier` is an attempt before the last one."""

    first: str
    last: str
    login: str
    sid: str
    number: int
    files: Mapping[str, bytes]
    time: datetime = datetime(2024, 12, 5, 11, 49)
    late: bool = False
    earlier: Mapping[str, bytes] | None = None
    partners: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first} {self.last}"

    @property
    def email(self) -> str:
        """An address, whose first part is the login."""
        return f"{self.login}@example.org"


def zipped(tree: Mapping[str, bytes]) -> bytes:
    """Return an archive of these files."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in tree.items():
            archive.writestr(name, data)
    return made.getvalue()


CLASS = (
    Student("Ada", "Lovelace", "alovelace", "s1001", 12, {"net.ipynb": b'{"cells": []}'}),
    Student("Ada", "Lovelace", "ada2", "s1002", 13, {"net.py": b"ada = 2"}, late=True,
            time=datetime(2024, 12, 6, 0, 5)),
    Student("José", "O'Neil", "j_oneil", "s1003", 14,
            {"model.py": b"jose = 1", "train.py": b"import model", "report.pdf": b"%PDF"},
            earlier={"old.py": b"old = 1"}, time=datetime(2024, 12, 5, 21, 26)),
    Student("小龙", "李", "lxl", "s1004", 15, {"main.zip": zipped({"x/net.py": b"li = 1"})}),
    Student("Mary-Ann", "Smith", "masmith", "s1005", 16, {"essay.pdf": b"%PDF-1"}),
    Student("Bob", "Copy", "bcopy", "s1006", 17, {"net.py": b"ada = 2"}),
)  # fmt: skip
EARLIER = datetime(2024, 12, 4, 9, 5)


def canvas(students: Sequence[Student]) -> Tree:
    """Return all in one folder; a second upload of the same name got `-1`."""
    tree: Tree = {}
    for student in students:
        name = re.sub(r"\W", "", f"{student.last}{student.first}").lower()
        mark = "_LATE" if student.late else ""
        for at, (file, data) in enumerate(student.files.items()):
            shown = file.replace(".py", "-1.py") if student.earlier else file
            tree[f"{name}{mark}_{student.number}_{9000 + 10 * student.number + at}_{shown}"] = data
    return tree


def canvas_anonymous(students: Sequence[Student]) -> Tree:
    """Return the same without names."""
    return {
        f"{'LATE_' * student.late}anon_Xy{student.number}z_{900 * student.number + at}_{file}": data
        for student in students
        for at, (file, data) in enumerate(student.files.items())
    }


def _moodle_name(student: Student) -> str:
    return f"{student.name}_{student.number}"


def moodle(students: Sequence[Student]) -> Tree:
    """Return a folder each, and one for what was typed."""
    tree = {
        f"{_moodle_name(student)}_assignsubmission_file/{file}": data
        for student in students
        for file, data in student.files.items()
    }
    typed = f"{_moodle_name(students[0])}_assignsubmission_onlinetext/onlinetext.html"
    return tree | {typed: b"<p>Hello</p>"}


def moodle_old(students: Sequence[Student]) -> Tree:
    """Return a folder each, as before version 4: with `_` at the end."""
    return {
        f"{_moodle_name(student)}_assignsubmission_file_/{file}": data
        for student in students
        for file, data in student.files.items()
    }


def moodle_flat(students: Sequence[Student]) -> Tree:
    """Return all in one folder."""
    return {
        f"{_moodle_name(student)}_assignsubmission_file_{file}": data
        for student in students
        for file, data in student.files.items()
    }


def gradescope(students: Sequence[Student]) -> Tree:
    """Return a folder each and a file about all of them, in a folder around it all."""
    lines = ["---"]
    tree: Tree = {}
    for student in students:
        key = f"submission_{student.number}"
        lines += [f"{key}:", "  :submitters:"]
        for name, sid, email in (
            (student.name, student.sid, student.email),
            *((partner, "", "") for partner in student.partners),
        ):
            lines += [f'  - :name: "{name}"', f"    :sid: '{sid}'", f"    :email: {email}"]
        lines.append(f"  :created_at: {student.time:%Y-%m-%d %H:%M:%S}.123456789 Z")
        past = ["  :history:", "  - :id: 1", "    :score: 0.0"]
        lines += past if student.earlier else ["  :history: []"]
        lines += ["  :results:", "    tests:", '    - {name: a, output: "x: [y", score: 1}']
        tree |= {f"assignment_7_export/{key}/{file}": d for file, d in student.files.items()}
    tree["assignment_7_export/submission_metadata.yml"] = "\n".join(lines).encode()
    return tree


def blackboard(students: Sequence[Student]) -> Tree:
    """Return all in one folder, every attempt, with a text about each."""
    tree: Tree = {}
    for student in students:
        attempts = [(student.time, student.files)]
        if student.earlier:
            attempts.insert(0, (EARLIER, student.earlier))
        for time, files in attempts:
            start = f"Project 1_{student.login}_attempt_{time:%Y-%m-%d-%H-%M-%S}"
            tree |= {f"{start}_{file}": data for file, data in files.items()}
            tree[f"{start}.txt"] = (
                f"Name: {student.name} ({student.login})\nAssignment: Project 1\n"
                "Comments:\nName: Nobody (alovelace)\n"
            ).encode()
    return tree


def brightspace_flat(students: Sequence[Student]) -> Tree:
    """Return all in one folder, every attempt, and a page about them."""
    return {_once(name): data for name, data in brightspace(students).items()}


def _once(name: str) -> str:
    return name.replace("/", " - ")


def brightspace(students: Sequence[Student]) -> Tree:
    """Return a folder for each attempt, and a page about them."""
    tree: Tree = {"index.html": b"<html>"}
    for student in students:
        attempts = [(student.time, student.files)]
        if student.earlier:
            attempts.append((EARLIER, student.earlier))
        for time, files in attempts:
            shown = f"{time:%b} {time.day}, {time.year} {int(f'{time:%I}')}{time:%M %p}"
            start = f"{student.number}-777 - {student.name} - {shown}"
            tree |= {f"{start}/{file}": data for file, data in files.items()}
    return tree


SYSTEMS: Mapping[str, Callable[[Sequence[Student]], Tree]] = {
    "canvas": canvas, "canvas anonymous": canvas_anonymous, "moodle": moodle,
    "moodle old": moodle_old, "moodle flat": moodle_flat, "gradescope": gradescope,
    "blackboard": blackboard, "brightspace": brightspace, "brightspace flat": brightspace_flat,
}  # fmt: skip


def in_folder(folder: Path, tree: Mapping[str, bytes]) -> Path:
    """Write a download as it is after it was unpacked."""
    for name, data in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def in_zip(path: Path, tree: Mapping[str, bytes]) -> Path:
    """Write a download as it comes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zipped(tree))
    return path
