"""The seed's optimised network: six 3×3 convolutions, 18,962 parameters."""
