"""One pytest test for each requirement: it reads the Record and judges; it never runs anything."""
