"""From the paths an instructor gives to a list of submissions; see docs/class.md.

Student code is neither run nor parsed here, and nothing is written but below a folder that the
caller gives to `Unpacker`.
"""

from grader.intake.entries import Entry, File, Intake, Stray
from grader.intake.gathering import gather
from grader.intake.unpacking import Unpacker

__all__ = ["Entry", "File", "Intake", "Stray", "Unpacker", "gather"]
