"""The data the grader trains and tests on, shipped with it and checked by SHA-256."""
