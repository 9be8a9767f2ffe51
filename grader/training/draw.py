"""Random numbers of a training, from generators of its own and never from PyTorch's global one."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Draw:
    """A source of random tensors: numbers come from a CPU generator and move to `device`."""

    generator: torch.Generator
    device: torch.device

    def uniform(self, count: int, low: float, high: float) -> torch.Tensor:
        """Return [count], float64, uniform between `low` and `high`."""
        unit = torch.rand(count, generator=self.generator, dtype=torch.float64)
        return (low + (high - low) * unit).to(self.device)

    def integers(self, count: int, low: int, high: int) -> torch.Tensor:
        """Return [count], int64, uniform over low, …, high - 1."""
        return torch.randint(low, high, (count,), generator=self.generator).to(self.device)

    def permutation(self, count: int) -> torch.Tensor:
        """Return 0, …, count - 1 in random order."""
        return torch.randperm(count, generator=self.generator).to(self.device)
