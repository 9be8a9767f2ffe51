"""From a path to a Program: student code is split into statements here, never imported."""

from grader.submission.reader import read_program

__all__ = ["read_program"]
