"""Networks with a dropout that acts, and with what only looks like one and the reason told."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import DropBlock2d

from tests.capturing import Net, conv


def dropped(drop: nn.Module) -> Net:
    """Return a network with a dropout between convolution and head."""
    return Net(lambda s, x: s.d(s.c(x)).mean((2, 3)), c=conv(), d=drop)


def squares(x: Tensor, gamma: float, side: int = 3) -> Tensor:
    """Drop whole squares of a map, and scale what is left."""
    seeds = (torch.rand(x.shape[0], *x.shape[2:]) < gamma).float()
    mask = 1 - F.max_pool2d(seeds[:, None], side, 1, side // 2)
    return x * mask * mask.numel() / mask.sum()


COUNTED: dict[str, Callable[[], Net]] = {
    "Dropout": lambda: dropped(nn.Dropout(0.1)),
    "Dropout in place": lambda: dropped(nn.Dropout(0.1, inplace=True)),
    "Dropout2d": lambda: dropped(nn.Dropout2d(0.1)),
    "squares": lambda: dropped(DropBlock2d(0.1, 3)),
    "squares, by hand": lambda: Net(
        lambda s, x: (squares(s.c(x), 0.02) if s.training else s.c(x)).mean((2, 3)), c=conv()
    ),
    "one in a thousand": lambda: dropped(nn.Dropout(0.001)),
    "all but one in a hundred": lambda: dropped(nn.Dropout(0.99)),
    "AlphaDropout": lambda: dropped(nn.AlphaDropout(0.1)),
    "FeatureAlphaDropout": lambda: dropped(nn.FeatureAlphaDropout(0.1)),
    "F.dropout": lambda: Net(
        lambda s, x: F.dropout(s.c(x), 0.1, s.training).mean((2, 3)), c=conv()
    ),
    "F.dropout2d": lambda: Net(
        lambda s, x: F.dropout2d(s.c(x), 0.1, training=s.training).mean((2, 3)), c=conv()
    ),
    "under an if": lambda: Net(
        lambda s, x: (F.dropout(s.c(x)) if s.training else s.c(x)).mean((2, 3)), c=conv()
    ),
    "before the last layer": lambda: Net(
        lambda s, x: s.f(s.d(s.c(x).mean((2, 3)))), c=conv(), d=nn.Dropout(0.5), f=nn.Linear(10, 10)
    ),
    "on the images": lambda: Net(
        lambda s, x: s.c(s.d(x)).mean((2, 3)), c=conv(), d=nn.Dropout(0.5)
    ),
    "in attention": lambda: Net(
        lambda s, x: F.scaled_dot_product_attention(
            y := s.c(x).flatten(2).mT, y, y, dropout_p=0.1 if s.training else 0.0
        ).mean(1),
        c=conv(stride=4),
    ),
    "between recurrent layers": lambda: Net(
        lambda s, x: s.r(x.squeeze(1))[0][:, -1],
        r=nn.LSTM(28, 10, num_layers=2, dropout=0.1, batch_first=True),
    ),
    "written by hand": lambda: Net(
        lambda s, x: (
            s.c(x) * (torch.rand_like(s.c(x)) > 0.1) / 0.9 if s.training else s.c(x)
        ).mean((2, 3)),
        c=conv(),
    ),
    "with a mask that was dropped out": lambda: Net(
        lambda s, x: (s.c(x) * F.dropout(torch.ones(1, 10, 26, 26), 0.1, s.training)).mean((2, 3)),
        c=conv(),
    ),
}

REFUSED: dict[str, tuple[Callable[[], Net], str]] = {
    "p = 0": (lambda: dropped(nn.Dropout(0.0)), "drops nothing"),
    "p = 1": (lambda: Net(
        lambda s, x: (s.c(x) + s.d(s.c(x))).mean((2, 3)), c=conv(), d=nn.Dropout(1.0)),
        "drops everything"),
    "next to never": (lambda: dropped(nn.Dropout(1e-12)), "next to nothing"),
    "less than one in a thousand": (lambda: dropped(nn.Dropout(0.0009)), "next to nothing"),
    "nearly all": (lambda: dropped(nn.Dropout(0.995)), "next to everything"),
    "squares that cover everything": (
        # at the border of the map squares are cut off: with 0.06 only 97.6 % are dropped
        lambda: Net(lambda s, x: (squares(s.c(x), 0.2, 9) if s.training else s.c(x)).mean((2, 3)),
                    c=conv()),
        "next to everything",
    ),
    "always off": (
        lambda: Net(lambda s, x: F.dropout(s.c(x), 0.1, False).mean((2, 3)), c=conv()),
        "switched off",
    ),
    "left on": (
        lambda: Net(lambda s, x: F.dropout(s.c(x), 0.1).mean((2, 3)), c=conv()),
        "training=self.training",
    ),
    "multiplied by zero": (
        lambda: Net(lambda s, x: (s.c(x) + 0.0 * s.d(s.c(x))).mean((2, 3)), c=conv(),
                    d=nn.Dropout(0.1)),
        "multiplied by zero",
    ),
    "of a constant": (
        lambda: Net(lambda s, x: (s.c(x) + s.d(torch.ones(1)).sum() * 0).mean((2, 3)), c=conv(),
                    d=nn.Dropout(0.1)),
        "",
    ),
    "result dropped in training": (
        lambda: Net(lambda s, x: (s.c(x) + s.d(x).new_zeros(1)).mean((2, 3)), c=conv(),
                    d=nn.Dropout(0.1)),
        "not used",
    ),
    "taken away again": (
        lambda: Net(lambda s, x: ((y := s.c(x)) + (z := s.d(y)) - z.detach()).mean((2, 3)),
                    c=conv(), d=nn.Dropout(0.1)),
        "taken away",
    ),
    "chosen never": (
        lambda: Net(lambda s, x: torch.lerp(y := s.c(x), s.d(y), 0.0).mean((2, 3)), c=conv(),
                    d=nn.Dropout(0.1)),
        "not used",
    ),
}  # fmt: skip
