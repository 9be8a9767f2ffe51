"""The data language a submission is reduced to: no torch, and nothing else of ours, is imported."""
