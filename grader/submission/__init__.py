"""From a path to a Program: student code is parsed and sliced here, never imported."""
