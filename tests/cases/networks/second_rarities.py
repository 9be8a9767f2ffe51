"""Honest networks in unusual words, written by someone who did not know how they would be judged.

In each of `RARITIES` images do not mix, and evaluation is the network that was trained. The numbers
after the parameters are: the receptive field, and how many batch norms, dropouts and poolings
count. What a definition leaves open is in `UNSETTLED`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from tests.capturing import Net, conv
from tests.cases.networks import Case
from tests.cases.networks.architectures import Block, body, stem, unit
from tests.cases.networks.second_decoys import Judged


def pool(use: Callable[[Tensor], Tensor], sees: int = 3) -> Case:
    """Return a case: the stem's map [B, 8, 14, 14] is averaged by `use`, and classified.

    One batch norm, no dropout, and one pooling count: each of these values is the mean of a map.
    """
    return Case(
        lambda: Net(lambda m, x: m.f(use(m.s(x)).reshape(-1, 8)), s=stem(), f=nn.Linear(8, 10)),
        178, sees, 1, 0, 1,
    )  # fmt: skip


def quarters(h: Tensor) -> Tensor:
    """Average four quarters, and then the four."""
    parts = [part for half in h.chunk(2, 2) for part in half.chunk(2, 3)]
    return torch.stack([part.mean((2, 3)) for part in parts]).mean(0)


def place_by_place(h: Tensor) -> Tensor:
    """Add up the places one by one."""
    total = torch.zeros(1)
    for row in range(14):
        for column in range(14):
            total = total + h[:, :, row, column]
    return total / (14 * 14)


def row_by_row(h: Tensor) -> Tensor:
    """Keep a running mean of the rows."""
    mean = h[:, :, 0].mean(2)
    for row in range(1, 14):
        mean = mean + (h[:, :, row].mean(2) - mean) / (row + 1)
    return mean


POOLINGS: dict[str, Case] = {
    "letters with ones": pool(
        lambda h: torch.einsum("bchw,hw->bc", h, torch.ones(14, 14)) / 196),
    "ones from the left": pool(lambda h: torch.ones(1, 196) @ h.flatten(2).mT / 196),
    "a product of batches": pool(
        lambda h: torch.bmm(h.flatten(2), torch.full((1, 196, 1), 1 / 196)
                            .expand(h.shape[0], -1, -1))),
    "the last of a running sum": pool(lambda h: h.flatten(2).cumsum(2)[..., -1] / 196),
    "the corner of an integral image": pool(lambda h: h.cumsum(2).cumsum(3)[..., -1, -1] / 196),
    "in two stages": pool(lambda h: F.avg_pool2d(F.avg_pool2d(h, 7), 2), 15),
    "in half the resolution": pool(lambda h: F.avg_pool2d(F.avg_pool2d(h, 2), 7), 5),
    "adaptive, then a view": pool(
        lambda h: F.adaptive_avg_pool2d(h, 1).view(-1, 2, 4).transpose(1, 2).mT),
    "a sum by the size": pool(lambda h: h.sum(dim=(-2, -1)) / (h.size(-1) * h.size(-2))),
    "a sum of a scaled map": pool(lambda h: h.mul(1 / 14).sum(3).sum(2) / 14),
    "place by place": pool(place_by_place),
    "row by row": pool(row_by_row),
    "quarters": pool(quarters),
    "unfolded": pool(lambda h: F.unfold(h, 14).view(-1, 8, 196).mean(2)),
    "windows unfolded": pool(lambda h: h.unfold(2, 7, 7).unfold(3, 7, 7).mean((-1, -2, 2, 3))),
    "a kernel of one number": pool(
        lambda h: F.conv2d(h.reshape(-1, 1, 14, 14), torch.full((1, 1, 14, 14), 1 / 196)), 29),
    "by area": pool(lambda h: F.interpolate(h, size=1, mode="area")),
    "the spectrum's first value": pool(lambda h: torch.fft.rfft2(h)[..., 0, 0].real / 196),
    "a norm of values that are not negative": pool(lambda h: F.lp_pool2d(h, 1, 14) / 196),
    "with a divisor": pool(lambda h: F.avg_pool2d(h, 14, divisor_override=196)),
    "summed by windows": pool(lambda h: F.avg_pool2d(h, 14, divisor_override=1) / 196),
    "mean with variance": pool(lambda h: torch.var_mean(h, (2, 3))[1]),
    "where it is a number": pool(lambda h: h.nanmean((2, 3))),
    "in three dimensions": pool(lambda h: F.adaptive_avg_pool3d(h[:, :, None], 1)),
    # The same pooled value is read twice, once as it is and once beside a maximum.
    "mean and spread": Case(lambda: Net(
        lambda m, x: m.f(torch.cat([(h := m.s(x)).mean((2, 3)), h.std((2, 3))], 1)),
        s=stem(), f=nn.Linear(16, 10)), 258, 3, 1, 0, 1),
    # Two means of two maps: one before the convolution, and one behind it.
    "before and behind a 1×1 convolution": Case(lambda: Net(
        lambda m, x: m.f((h := m.s(x)).mean((2, 3))) + m.c(h).mean((2, 3)),
        s=stem(), f=nn.Linear(8, 10), c=conv(8, 10, 1)), 268, 3, 1, 0, 2),
    # Every place is classified; the mean of its log-probabilities is a mean of a map.
    "votes of places": Case(lambda: Net(
        lambda m, x: m.c(m.s(x)).log_softmax(1).mean((2, 3)), s=stem(), c=conv(8, 10, 1)),
        178, 3, 1, 0, 1),
}  # fmt: skip


class Alike(nn.Module):
    """Applies a norm of one dimension, or of three, to a map."""

    def __init__(self, norm: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.norm, self.shape = norm, shape

    def forward(self, x: Tensor) -> Any:
        """Change the shape, normalise, and change it back."""
        return self.norm(x.reshape(-1, 8, *self.shape)).view_as(x)


def begun(weight: float, bias: float) -> nn.Sequential:
    """Return a unit whose batch norm begins with this weight and bias."""
    block = unit(8, 8)
    assert isinstance(block[1], nn.BatchNorm2d)
    nn.init.constant_(block[1].weight, weight)
    nn.init.constant_(block[1].bias, bias)
    return block


def started(layer: nn.Linear, scale: float) -> nn.Linear:
    """Scale the first weights of a classifier, and leave out its bias."""
    with torch.no_grad():
        layer.weight.mul_(scale)
        layer.bias.zero_()
    return layer


def scaled(*size: int) -> nn.Parameter:
    """Return a scale of a millionth for each channel."""
    return nn.Parameter(torch.full((*size, 1, 1), 1e-6))


NORMS: dict[str, Case] = {
    # Each uses the batch's statistics in training and its running ones in evaluation.
    "one dimension": Case(lambda: body(Alike(nn.BatchNorm1d(8), (196,))), 194, 3, 2, 1, 1),
    "three dimensions": Case(lambda: body(Alike(nn.BatchNorm3d(8), (2, 7, 14))), 194, 3, 2, 1, 1),
    "synchronised": Case(lambda: body(nn.SyncBatchNorm(8)), 194, 3, 2, 1, 1),
    "rows of channels": Case(lambda: body(Block(
        lambda m, x: m.b(x.permute(0, 2, 3, 1).reshape(-1, 8)).view(-1, 14, 14, 8)
        .permute(0, 3, 1, 2), b=nn.BatchNorm1d(8))), 194, 3, 2, 1, 1),
    "a mean of all batches": Case(lambda: body(nn.BatchNorm2d(8, momentum=None)), 194, 3, 2, 1, 1),
    "one norm twice": Case(lambda: body(Block(
        lambda m, x: m.b(m.k(m.b(x).relu())), b=nn.BatchNorm2d(8), k=conv(8, 8, padding=1))),
        778, 7, 3, 1, 1),
    # A gate without a gradient, which decides all the same.
    "that decides which values pass": Case(lambda: body(Block(
        lambda m, x: x * (m.b(x) > 0), b=nn.BatchNorm2d(8))), 194, 3, 2, 1, 1),
    # Training opens the branch: the gradient of the weight is not zero.
    "a weight that begins at zero": Case(lambda: body(Block(
        lambda m, x: x + m.u(x), u=begun(0.0, 0.0))), 770, 7, 2, 1, 1),
    "scales of a millionth": Case(lambda: body(Block(
        lambda m, x: (y := x + m.a * m.u(x)) + m.e * m.v(y),
        u=unit(8, 8), v=unit(8, 8), a=scaled(8), e=scaled(8))), 1378, 11, 3, 1, 1),
    # Of normalised values some are beyond 2 and get through.
    "most ReLUs shut": Case(lambda: body(begun(1.0, -2.0)), 770, 7, 2, 1, 1),
    "images divided twice": Case(lambda: Net(
        lambda m, x: m.f(x / 255), f=body(unit(8, 8))), 770, 7, 2, 1, 1),
    "images of a thousandth": Case(lambda: Net(
        lambda m, x: m.f(m.b(m.c(x * 1e-3)).relu().mean((2, 3))),
        c=conv(1, 8), b=nn.BatchNorm2d(8, eps=1e-10), f=nn.Linear(8, 10)), 186, 3, 1, 0, 1),
    "tokens": Case(lambda: Net(
        lambda m, x: m.f((t := m.p(x).flatten(2)).add(m.a(m.b(t).mT).mT).relu().mean(2)),
        p=conv(1, 16, 7, stride=7), b=nn.BatchNorm1d(16), a=nn.Linear(16, 16),
        f=nn.Linear(16, 10)), 1274, 7, 1, 0, 1),
}  # fmt: skip


class Drawn(nn.Module):
    """Multiplies in training by what is drawn for a map."""

    def __init__(self, draw: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.draw = draw

    def forward(self, x: Tensor) -> Any:
        """Draw and multiply, in training alone."""
        return x * self.draw(x) if self.training else x


class Classic(nn.Module):
    """Dropout as it was first described: evaluation scales, training does not."""

    def forward(self, x: Tensor) -> Any:
        """Drop a tenth, or keep nine tenths of each."""
        return x * (torch.rand_like(x) < 0.9) if self.training else x * 0.9


class Patch(nn.Module):
    """Blackens a square of 8×8 at a random place of each image, in training alone."""

    def forward(self, x: Tensor) -> Any:
        """Multiply by zero in the square."""
        if not self.training:
            return x
        top, left = torch.rand(2, x.shape[0], 1, 1, 1) * 20
        rows = torch.arange(28.0)[:, None]
        columns = torch.arange(28.0)
        hidden = (rows >= top) & (rows < top + 8) & (columns >= left) & (columns < left + 8)
        return x * ~hidden


def block_mask(x: Tensor) -> Tensor:
    """Return a mask for every channel that drops squares of 3×3."""
    seeds = (torch.rand_like(x) < 0.02).float()
    return 1 - F.max_pool2d(seeds, 3, 1, 1)


DROPOUTS: dict[str, Case] = {
    # Values become zero by chance in training: each of these counts, beside the one in the head.
    "drawn in place": Case(lambda: body(Drawn(
        lambda x: torch.empty_like(x).bernoulli_(0.9) / 0.9)), 178, 3, 1, 2, 1),
    "one mask for the batch": Case(lambda: body(Drawn(
        lambda x: (torch.rand(1, 8, 14, 14) > 0.2) / 0.8)), 178, 3, 1, 2, 1),
    "rounded draws": Case(lambda: body(Drawn(
        lambda x: (torch.rand_like(x) + 0.9).floor() / 0.9)), 178, 3, 1, 2, 1),
    "squares in each channel": Case(lambda: body(Drawn(block_mask)), 178, 3, 1, 2, 1),
    "rows of the map": Case(lambda: body(Drawn(
        lambda x: (torch.rand(x.shape[0], 1, 14, 1) > 0.1) / 0.9)), 178, 3, 1, 2, 1),
    "filled with zeros": Case(lambda: body(Block(
        lambda m, x: x.masked_fill(torch.rand_like(x) < 0.1, 0.0) / 0.9 if m.training else x)),
        178, 3, 1, 2, 1),
    "chosen": Case(lambda: body(Block(
        lambda m, x: torch.where(torch.rand_like(x) < 0.1, 0.0, x / 0.9) if m.training else x)),
        178, 3, 1, 2, 1),
    "as first described": Case(lambda: body(Classic()), 178, 3, 1, 2, 1),
    "spatial, in one dimension": Case(lambda: body(Block(
        lambda m, x: m.d(x.flatten(2)).view_as(x), d=nn.Dropout1d(0.1))), 178, 3, 1, 2, 1),
    "spatial, in three dimensions": Case(lambda: body(Block(
        lambda m, x: m.d(x[:, :, None])[:, :, 0], d=nn.Dropout3d(0.1))), 178, 3, 1, 2, 1),
    "alpha dropout of channels": Case(lambda: body(nn.Sequential(
        conv(8, 8, padding=1), nn.SELU(), nn.FeatureAlphaDropout(0.1))), 762, 7, 1, 2, 1),
    "branches of the batch": Case(lambda: body(Block(
        lambda m, x: x + m.d(m.u(x)), u=unit(8, 8), d=StochasticDepth(0.2, "batch"))),
        770, 7, 2, 2, 1),
    "half of the channels": Case(lambda: body(Block(
        lambda m, x: torch.cat([x[:, :4], m.d(x[:, 4:])], 1), d=nn.Dropout2d(0.2))),
        178, 3, 1, 2, 1),
    "a square of the image": Case(lambda: nn.Sequential(Patch(), body(nn.Identity())),
                                  178, 3, 1, 2, 1),
    # One dropout is applied three times, and each time counts.
    "several samples": Case(lambda: Net(
        lambda m, x: (z := m.s(x).mean((2, 3)), sum(m.f(m.d(z)) for _ in range(3)) / 3)[1],
        s=stem(), d=nn.Dropout(0.3), f=nn.Linear(8, 10)), 178, 3, 1, 3, 1),
    # Noise with a mean of one drops nothing: only the head's counts.
    "Gaussian": Case(lambda: body(Drawn(
        lambda x: 1 + 0.3 * torch.randn_like(x))), 178, 3, 1, 1, 1),
    "uniform": Case(lambda: body(Drawn(
        lambda x: 0.5 + torch.rand_like(x))), 178, 3, 1, 1, 1),
}  # fmt: skip


OTHERS: dict[str, Case] = {
    # The scores are alike before the first step: a classifier that begins at zero learns.
    "a head of zeros": Case(lambda: nn.Sequential(
        stem(), nn.Dropout(0.1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        started(nn.Linear(8, 10), 0.0)), 178, 3, 1, 1, 1),
    "a small head": Case(lambda: nn.Sequential(
        stem(), nn.Dropout(0.1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        started(nn.Linear(8, 10), 1e-4)), 178, 3, 1, 1, 1),
    # Probabilities are nearly 0 and 1, yet which class has the 1 depends on each layer.
    "saturated": Case(lambda: Net(
        lambda m, x: (30 * m.f(x)).softmax(1), f=body(unit(8, 8))),
        770, 7, 2, 1, 1, "probabilities"),
    "log-probabilities": Case(lambda: nn.Sequential(
        stem(), nn.Dropout(0.1), nn.Conv2d(8, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.LogSoftmax(1)), 818, 7, 1, 1, 1, "log-probabilities"),
    "a leaky ReLU by hand": Case(lambda: body(Block(
        lambda m, x: torch.where((y := m.c(x)) > 0, y, 0.1 * y), c=conv(8, 8, padding=1))),
        762, 7, 1, 1, 1),
    # A product of spectra reaches over the whole map, but no convolution does.
    "a filter of the spectrum": Case(lambda: body(Block(
        lambda m, x: torch.fft.irfft2(
            torch.fft.rfft2(x) * torch.view_as_complex(m.w), s=(14, 14)),
        w=nn.Parameter(torch.randn(8, 14, 8, 2) / 8))), 1970, 3, 1, 1, 1),
    # The weight goes there and, transposed, back.
    "there and back with one weight": Case(lambda: body(Block(
        lambda m, x: F.conv_transpose2d(F.conv2d(x, m.w, padding=1).relu(), m.w, padding=1),
        w=nn.Parameter(torch.randn(8, 8, 3, 3) / 9))), 754, 11, 1, 1, 1),
    "depthwise with a multiplier": Case(lambda: body(nn.Sequential(
        nn.Conv2d(8, 16, 3, padding=1, groups=8), nn.ReLU6(), unit(16, 8, 1))),
        482, 7, 2, 1, 1),
    "mixer with dropout": Case(lambda: Net(
        lambda m, x: m.f(((t := m.p(x).flatten(2)) + m.d(m.a(t).relu())).mean(2)),
        p=conv(1, 16, 7, stride=7), a=nn.Linear(16, 16), d=nn.Dropout(0.1),
        f=nn.Linear(16, 10)), 1242, 7, 0, 1, 1),
    "patches that attend, normalised together": Case(lambda: Net(
        lambda m, x: m.f(m.d((t := m.b(m.p(x).flatten(2)).mT) + F.scaled_dot_product_attention(
            m.q(t), m.k(t), t)).mean(1)),
        p=conv(1, 8, 4, stride=4), b=nn.BatchNorm1d(8), q=nn.Linear(8, 8), k=nn.Linear(8, 8),
        d=nn.Dropout(0.1), f=nn.Linear(8, 10)), 386, 4, 1, 1, 1),
}  # fmt: skip

RARITIES: dict[str, Case] = {
    f"{kind}: {name}": case
    for kind, cases in {
        "pooling": POOLINGS, "batch norm": NORMS, "dropout": DROPOUTS, "other": OTHERS,
    }.items()
    for name, case in cases.items()
}  # fmt: skip


class OwnNorm(nn.Module):
    """Batch norm, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8, 1, 1))
        self.bias = nn.Parameter(torch.zeros(8, 1, 1))
        self.mean = nn.Buffer(torch.zeros(8, 1, 1))
        self.var = nn.Buffer(torch.ones(8, 1, 1))

    def forward(self, x: Tensor) -> Any:
        """Use the batch's statistics in training, and what was kept of them in evaluation."""
        if self.training:
            mean = x.mean((0, 2, 3), keepdim=True)[0]
            var = x.var((0, 2, 3), unbiased=False, keepdim=True)[0]
            with torch.no_grad():
                self.mean.mul_(0.9).add_(0.1 * mean)
                self.var.mul_(0.9).add_(0.1 * var)
        else:
            mean, var = self.mean, self.var
        return (x - mean) / (var + 1e-5).sqrt() * self.weight + self.bias


class Renorm(nn.BatchNorm2d):
    """Batch renorm: a batch norm that is corrected by its running statistics in training."""

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift towards what evaluation will use."""
        assert self.running_mean is not None
        assert self.running_var is not None
        mean, std = self.running_mean.clone(), (self.running_var + 1e-5).sqrt()
        y = super().forward(x)
        if not self.training:
            return y
        batch = x.detach()
        spread = (batch.var((0, 2, 3), unbiased=False) + 1e-5).sqrt()
        r = (spread / std).clamp(1 / 3, 3)[:, None, None]
        d = ((batch.mean((0, 2, 3)) - mean) / std).clamp(-5, 5)[:, None, None]
        return y * r + d


class Halves(nn.BatchNorm2d):
    """Ghost batch norm: each half of a batch is normalised by itself."""

    def forward(self, x: Tensor) -> Tensor:
        """Split in training alone."""
        if not self.training:
            return super().forward(x)
        return torch.cat([super(Halves, self).forward(part) for part in x.chunk(2)])


def filled(m: Any, h: Tensor) -> Any:
    """Put the mean of a map in the place of what is dropped, in training alone."""
    if not m.training:
        return h
    kept = 0.9 * m.d(torch.ones_like(h))
    return h * kept + (1 - kept) * h.mean((2, 3), keepdim=True)


UNSETTLED: dict[str, Judged] = {
    "batch norm by hand": Judged(
        lambda: body(Block(lambda m, x: m.b(m.c(x)), b=OwnNorm(), c=conv(8, 8, padding=1))),
        "it does what batch norm does, yet no node's arguments say so; the stem's counts",
        same=None),
    "batch norm by hand alone": Judged(
        lambda: Net(lambda m, x: m.f(m.d(m.b(m.c(x)).relu().mean((2, 3)))), c=conv(1, 8),
                    b=OwnNorm(), d=nn.Dropout(0.1), f=nn.Linear(8, 10)),
        "word by word it has no node that uses running statistics; a person would let it count",
        batch_norm=None, same=None),
    "batch renorm": Judged(
        lambda: Net(lambda m, x: m.f(m.d(m.b(m.c(x)).relu().mean((2, 3)))), c=conv(1, 8),
                    b=Renorm(8, affine=False), d=nn.Dropout(0.1), f=nn.Linear(8, 10)),
        "its node is a batch norm; what corrects it in training is missing in evaluation, where "
        "the correction is none by construction", same=None),
    "ghost batch norm": Judged(
        lambda: Net(lambda m, x: m.f(m.d(m.b(m.c(x)).relu().mean((2, 3)))), c=conv(1, 8),
                    b=Halves(8), d=nn.Dropout(0.1), f=nn.Linear(8, 10)),
        "two nodes of training are one of evaluation: how many count is open, at least one does"),
    "weights dropped": Judged(
        lambda: Net(lambda m, x: m.f(F.conv2d(m.b(m.c(x)).relu(), m.d(m.w)).mean((2, 3))),
                    c=conv(1, 8, stride=2), b=nn.BatchNorm2d(8), d=nn.Dropout(0.1),
                    w=nn.Parameter(torch.randn(8, 8, 3, 3) / 9), f=nn.Linear(8, 10)),
        "values become zero by chance, but they are weights: no data of the image flows in",
        dropout=None),
    "filled with the mean": Judged(
        lambda: Net(lambda m, x: m.f(filled(m, m.b(m.c(x)).relu()).mean((2, 3))),
                    c=conv(1, 8, stride=2), b=nn.BatchNorm2d(8), d=nn.Dropout(0.1),
                    f=nn.Linear(8, 10)),
        "a product is zero by chance, and the mean is put in its place", dropout=None, same=None),
}  # fmt: skip
