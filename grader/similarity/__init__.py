"""What the submissions of a class share: evidence for a person to look at; see docs/class.md.

Code is read as text and neither run nor parsed.
"""

from grader.similarity.code import Source, read
from grader.similarity.compare import Submission, compare
from grader.similarity.export import Row, dolos
from grader.similarity.findings import Findings

__all__ = ["Findings", "Row", "Source", "Submission", "compare", "dolos", "read"]
