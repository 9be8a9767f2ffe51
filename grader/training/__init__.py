"""The trusted engine: from (plan, seed) to numbers and weights. Imports torch; no student code."""
