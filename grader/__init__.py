"""Grades one assignment: an MNIST CNN with few parameters, judged by training it for real."""

__version__ = "0.1.0"
