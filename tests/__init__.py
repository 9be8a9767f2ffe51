"""The tests: one module for each module of the grader, and helpers beside them."""
