"""Ten networks of the kinds students hand in, for timing; all end in ten scores."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from reference_solution.model import Net as Reference


def _head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


def _relu_norm_dropout(inputs: int, outputs: int, p: float = 0.05) -> nn.Sequential:
    """Make the order many courses teach."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, bias=False), nn.ReLU(), nn.BatchNorm2d(outputs), nn.Dropout(p)
    )


def _norm_relu(inputs: int, outputs: int, size: int = 3, **options: int) -> nn.Sequential:
    options.setdefault("padding", size // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, bias=False, **options),  # type: ignore[arg-type] # numbers all
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class _Sum(nn.Module):
    """A block with a way around it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Add what the block makes of [B, C, H, W] to it."""
        return x + self.inner(x)  # type: ignore[no-any-return]


class _Gate(nn.Module):
    """Squeeze and excite."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 4, 1), nn.ReLU(),
            nn.Conv2d(4, channels, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of [B, C, H, W]."""
        return x * self.gate(x)  # type: ignore[no-any-return]


def relu_before_norm() -> nn.Module:
    """Convolution, ReLU, norm, dropout, seven times, with one transition."""
    return nn.Sequential(
        _relu_norm_dropout(1, 16), _relu_norm_dropout(16, 16),
        nn.Conv2d(16, 10, 1), nn.MaxPool2d(2), _relu_norm_dropout(10, 16),
        _relu_norm_dropout(16, 16), _relu_norm_dropout(16, 16), *_head(16),
    )  # fmt: skip


def norm_relu_dropout2d() -> nn.Module:
    """Whole channels are dropped."""
    return nn.Sequential(
        _norm_relu(1, 12), nn.Dropout2d(0.05), _norm_relu(12, 16), nn.MaxPool2d(2),
        _norm_relu(16, 16), nn.Dropout2d(0.05), _norm_relu(16, 16), nn.MaxPool2d(2),
        _norm_relu(16, 16), *_head(16),
    )  # fmt: skip


def depthwise() -> nn.Module:
    """Depthwise separable convolutions."""
    return nn.Sequential(
        _norm_relu(1, 16), _norm_relu(16, 16, groups=16), _norm_relu(16, 24, 1), nn.MaxPool2d(2),
        _norm_relu(24, 24, groups=24), _norm_relu(24, 32, 1), nn.Dropout(0.05),
        _norm_relu(32, 32, groups=32), _norm_relu(32, 32, 1), *_head(32),
    )  # fmt: skip


def residual() -> nn.Module:
    """Blocks with ways around them."""
    return nn.Sequential(
        _norm_relu(1, 16), nn.MaxPool2d(2), _Sum(_norm_relu(16, 16)), nn.Dropout(0.05),
        _Sum(_norm_relu(16, 16)), nn.MaxPool2d(2), _Sum(_norm_relu(16, 16)), *_head(16),
    )  # fmt: skip


def squeeze_excite() -> nn.Module:
    """Channels weighed by gates."""
    return nn.Sequential(
        _norm_relu(1, 16), _Gate(16), nn.MaxPool2d(2), _norm_relu(16, 16), _Gate(16),
        nn.Dropout(0.05), nn.MaxPool2d(2), _norm_relu(16, 24), *_head(24),
    )  # fmt: skip


def dilated() -> nn.Module:
    """Look far by dilation, without pooling before the end."""
    return nn.Sequential(
        _norm_relu(1, 10), _norm_relu(10, 10, padding=2, dilation=2), nn.Dropout(0.05),
        _norm_relu(10, 10, padding=4, dilation=4), _norm_relu(10, 16, stride=2), *_head(16),
    )  # fmt: skip


def strided() -> nn.Module:
    """Strides in place of pooling, SiLU in place of ReLU."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.SiLU(), nn.Dropout(0.05),
        nn.Conv2d(16, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.SiLU(),
        nn.Conv2d(24, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.SiLU(), *_head(32),
    )  # fmt: skip


def wide_and_shallow() -> nn.Module:
    """Few layers with many channels at full size."""
    return nn.Sequential(
        _norm_relu(1, 32), nn.Dropout(0.1), _norm_relu(32, 32), nn.MaxPool2d(2),
        _norm_relu(32, 24), *_head(24),
    )  # fmt: skip


def dense_head() -> nn.Module:
    """Two convolutions and a large linear layer, as in the books."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Dropout(0.25),
        nn.Linear(64, 10),
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "reference": Reference,
    "ReLU before norm": relu_before_norm,
    "norm, ReLU, Dropout2d": norm_relu_dropout2d,
    "depthwise separable": depthwise,
    "residual": residual,
    "squeeze and excite": squeeze_excite,
    "dilated": dilated,
    "strided, SiLU": strided,
    "wide and shallow": wide_and_shallow,
    "two linear layers": dense_head,
}
