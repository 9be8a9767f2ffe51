"""Networks that pretend, written by someone who did not know how they would be judged.

Each decoy is honest in all but one thing, so that a check that fails for another reason shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.capturing import Net, conv

Use = Callable[[Any, Tensor, Tensor], Tensor]
"""What is made of (parts, a map or features, the images)."""


@dataclass(frozen=True)
class Judged:
    """A network, the right answer of each check (None: it may be argued either way), and why."""

    make: Callable[[], nn.Module]
    why: str
    batch_norm: bool | None = True
    dropout: bool | None = True
    pooling: bool | None = True
    independent: bool | None = True
    same: bool | None = True


no_norm = partial(Judged, batch_norm=False)
no_dropout = partial(Judged, dropout=False)
no_pooling = partial(Judged, pooling=False)
mixing = partial(Judged, independent=False)
another = partial(Judged, same=False)


def learned(value: float) -> nn.Parameter:
    """Return a parameter of one number."""
    return nn.Parameter(torch.tensor(value))


def open_at_first(m: Any) -> Any:
    """Count the training steps, and return 1 for the first hundred of them."""
    if m.training:
        m.n.add_(1)
    return (m.n < 100).float()


def open_when_few(x: Tensor) -> Tensor:
    """Return 1 in batches of fewer than 32 images."""
    return (x.new_ones(x.shape[0]).sum() < 32).float()


def corner(x: Tensor) -> Tensor:
    """Return the brightness of a corner [B, 1, 1, 1]: above zero for noise, never for a digit."""
    return x[:, :, :1, :1].relu()


def normed(use: Use, **parts: object) -> Net:
    """Return convolution, what is made of its map [B, 8, 13, 13] (b is a norm), pooling, head."""
    return Net(
        lambda m, x: m.f(m.d(use(m, m.c(x).relu(), x).mean((2, 3)))),
        **{"c": conv(1, 8, stride=2), "b": nn.BatchNorm2d(8), **parts},
        d=nn.Dropout(0.1), f=nn.Linear(8, 10),
    )  # fmt: skip


def dropped(use: Use, **parts: object) -> Net:
    """Return convolution and norm, what is made of the map (d is a dropout), pooling, head."""
    return Net(
        lambda m, x: m.f(use(m, m.b(m.c(x)).relu(), x).mean((2, 3))),
        **{"c": conv(1, 8, stride=2), "b": nn.BatchNorm2d(8), "d": nn.Dropout(0.1), **parts},
        f=nn.Linear(8, 10),
    )  # fmt: skip


def beside(use: Use, **parts: object) -> Net:
    """Return the scores of a flattened map, plus what is made of the map (g: 8 to 10)."""
    return Net(
        lambda m, x: m.f((h := m.d(m.b(m.c(x)).relu())).flatten(1)) + use(m, h, x),
        **{"c": conv(1, 8, stride=2), "b": nn.BatchNorm2d(8), "g": nn.Linear(8, 10), **parts},
        d=nn.Dropout(0.1), f=nn.Linear(1352, 10),
    )  # fmt: skip


def features(use: Use, **parts: object) -> Net:
    """Return a head on what is made of the pooled features [B, 8]."""
    return Net(
        lambda m, x: m.f(use(m, m.d(m.b(m.c(x)).relu().mean((2, 3))), x)),
        c=conv(1, 8, stride=2), b=nn.BatchNorm2d(8), d=nn.Dropout(0.1), f=nn.Linear(8, 10), **parts,
    )  # fmt: skip


def scores(m: Any, x: Tensor) -> Any:
    """Return the scores of an honest network of the parts c, b, d and f."""
    return m.f(m.d(m.b(m.c(x)).relu().mean((2, 3))))


def honest(run: Callable[[Any, Tensor], Tensor], **parts: object) -> Net:
    """Return a network of the parts that `scores` takes, and more."""
    return Net(
        run, c=conv(1, 8, stride=2), b=nn.BatchNorm2d(8), d=nn.Dropout(0.1), f=nn.Linear(8, 10),
        **parts,
    )  # fmt: skip


def kernel() -> nn.Conv2d:
    """Return a convolution that keeps a map of eight channels as large as it is."""
    return conv(8, 8, padding=1)


def all_alike(m: Any, x: Tensor) -> Any:
    """Raise all scores by the mean of what a norm makes."""
    h = m.c(x).relu()
    return m.f(m.d(h.mean((2, 3)))) + m.b(h).square().mean((1, 2, 3))[:, None]


def swapped(m: Any, h: Tensor, _: Tensor) -> Any:
    """Normalise in evaluation by what another norm has seen of other channels."""
    if m.training:
        m.o(h.flip(1))
        return m.b(h)
    return F.batch_norm(h, m.o.running_mean, m.o.running_var, m.b.weight, m.b.bias)


def reversed_statistics(m: Any, h: Tensor, _: Tensor) -> Any:
    """Normalise in evaluation by the statistics in the reverse order."""
    if m.training:
        return m.b(h)
    return F.batch_norm(h, m.b.running_mean.flip(0), m.b.running_var.flip(0))


def until_it_moved(m: Any, h: Tensor, _: Tensor) -> Any:
    """Add the normalised map while the running variance is what it was at first."""
    gate = ((m.b.running_var - 1).abs().amax() < 1e-3).float()
    return h + gate * m.b(h)


def buried() -> nn.BatchNorm2d:
    """Return a norm whose results lie far below zero."""
    norm = nn.BatchNorm2d(8)
    nn.init.constant_(norm.bias, -1e4)
    return norm


NORMS: dict[str, Judged] = {
    "added before a convolution, taken away behind it": no_norm(
        lambda: normed(lambda m, h, x: m.k(h + (y := m.b(h))) - F.conv2d(y, m.k.weight, padding=1),
                       k=kernel()), "a convolution is linear: the norm cancels exactly"),
    "half the sum and half the difference": no_norm(
        lambda: normed(lambda m, h, x: (m.k(h + (y := m.b(h))) + m.k(h - y)) / 2, k=kernel()),
        "two ways through one convolution, in which the norm has opposite signs"),
    "multiplied and divided by": no_norm(
        lambda: normed(lambda m, h, x: h * (y := m.b(h).clamp(-3, 3).exp()) / y),
        "a factor and its inverse"),
    "turns the phase of a spectrum": no_norm(
        lambda: normed(lambda m, h, x: (torch.fft.fft2(h) * torch.exp(1j * m.b(h))).abs() / 13),
        "the magnitude of a complex number does not depend on its phase"),
    "orders the places that are averaged": no_norm(
        lambda: normed(lambda m, h, x: h.flatten(2).gather(2, m.b(h).flatten(2).argsort(2))
                       .view(-1, 8, 13, 13)), "a mean does not depend on the order"),
    "shares that sum to one": no_norm(
        lambda: normed(lambda m, h, x: h * m.b(h).softmax(1).sum(1, keepdim=True)),
        "a softmax sums to one"),
    "sine and cosine": no_norm(
        lambda: normed(lambda m, h, x: h * ((y := m.b(h)).sin().square() + y.cos().square())),
        "their squares sum to one"),
    "the length of a unit vector": no_norm(
        lambda: normed(lambda m, h, x: h * F.normalize(m.b(h), dim=1).norm(dim=1, keepdim=True)),
        "it is one"),
    "a comparison that always holds": no_norm(
        lambda: normed(lambda m, h, x: h * (m.b(h) < 1e6)), "the result is 1 for every value"),
    "a choice that is never made": no_norm(
        lambda: normed(lambda m, h, x: torch.where((y := m.b(h)) > 1e6, y, h)),
        "no normalised value is that large"),
    "filled where it is no number": no_norm(
        lambda: normed(lambda m, h, x: h.masked_fill(m.b(h).isnan(), 0.0)), "it always is one"),
    "the sum of ranks": no_norm(
        lambda: normed(lambda m, h, x: h * m.b(h).argsort(1).sum(1, keepdim=True) / 28),
        "the numbers 0 to 7 in any order sum to 28"),
    "a shift before a layer norm": no_norm(
        lambda: normed(lambda m, h, x: m.l(h + m.b(h).square().mean((1, 2, 3), True)),
                       l=nn.LayerNorm([8, 13, 13])), "a layer norm takes any shift away"),
    "a saturated sigmoid": no_norm(
        lambda: normed(lambda m, h, x: h * (m.b(h).clamp(-5, 5) + 60).sigmoid()),
        "it is 1 for every value it can get"),
    "rounded to zero": no_norm(
        lambda: normed(lambda m, h, x: h + (m.b(h).tanh() * 0.49).round()),
        "less than a half is rounded to zero"),
    "clamped to one number": no_norm(
        lambda: normed(lambda m, h, x: h + m.b(h).clamp(1, 1)), "every value becomes 1"),
    "the remainder of whole numbers": no_norm(
        lambda: normed(lambda m, h, x: h + m.b(h).floor().remainder(1)), "it is zero"),
    "under a maximum": no_norm(
        lambda: normed(lambda m, h, x: torch.maximum(h, m.b(h) - 1e6)), "the other is larger"),
    "under a ReLU that stays shut": no_norm(
        lambda: normed(lambda m, h, x: h + (m.b(h) - 1e4).relu()),
        "10,000 is beyond what a norm can give"),
    "buried by its bias": no_norm(
        lambda: normed(lambda m, h, x: h + m.b(h).relu(), b=buried()),
        "its own bias of -10,000 shuts the ReLU, and no gradient gets through"),
    "until its variance moved": no_norm(
        lambda: normed(until_it_moved), "the gate is open before the first step only"),
    "for a hundred steps": no_norm(
        lambda: normed(lambda m, h, x: h + open_at_first(m) * m.b(h), n=nn.Buffer(torch.zeros(()))),
        "it rests for all but the first hundred steps, and in every test"),
    "for a hundred steps, by its own count": no_norm(
        lambda: normed(lambda m, h, x: h + (m.b.num_batches_tracked < 100) * m.b(h)),
        "it rests for all but the first hundred steps, and in every test"),
    "in small batches": no_norm(
        lambda: normed(lambda m, h, x: h + open_when_few(x) * m.b(h)),
        "batches of training are larger; in a test the scores depend on the number of images",
        independent=False),
    "in huge batches": no_norm(
        lambda: normed(lambda m, h, x: h + (x.new_ones(x.shape[0]).sum() > 20000) * m.b(h)),
        "no batch of training is that large (and a test's scores could depend on it)",
        independent=None),
    "for a bright corner": no_norm(
        lambda: normed(lambda m, h, x: h + corner(x) * m.b(h)), "digits have dark corners"),
    "for corners that differ": no_norm(
        lambda: normed(lambda m, h, x: h + (x[:, :, :1, :1] - x[:, :, -1:, -1:]) * m.b(h)),
        "the corners of a digit are equally dark, however it was normalised"),
    "for images brighter than any": no_norm(
        lambda: normed(lambda m, h, x: h + (x.amax((1, 2, 3), True) - 10).relu() * m.b(h)),
        "no pixel of a digit is that bright"),
    "times a parameter out of reach": no_norm(
        lambda: normed(lambda m, h, x: h + m.a.detach() * m.b(h), a=learned(0.0)),
        "it is zero, and no gradient changes it"),
    "times the square of zero": no_norm(
        lambda: normed(lambda m, h, x: h + m.a**2 * m.b(h), a=learned(0.0)),
        "the gradient of a square at zero is zero: it stays there"),
    "times a gate that is dead": no_norm(
        lambda: normed(lambda m, h, x: h + m.a.relu() * m.b(h), a=learned(-1.0)),
        "the ReLU is shut and lets no gradient through"),
    "times a threshold": no_norm(
        lambda: normed(lambda m, h, x: h + (m.a > 0.5) * m.b(h), a=learned(0.0)),
        "a comparison has no gradient, so that it never holds"),
    "times a rounded parameter": no_norm(
        lambda: normed(lambda m, h, x: h + m.a.round() * m.b(h), a=learned(0.1)),
        "rounding has no gradient, so that the factor stays zero"),
    "of a pattern": no_norm(
        lambda: normed(lambda m, h, x: h + m.b(m.p.expand(x.shape[0], -1, -1, -1)),
                       p=nn.Parameter(torch.randn(1, 8, 13, 13))),
        "nothing of the image gets into the norm"),
    "of noise": no_norm(
        lambda: normed(lambda m, h, x: h + 0.1 * m.b(
            torch.randn_like(h) if m.training else torch.zeros_like(h))),
        "nothing of the image gets into the norm", same=None),
    "of dark corners": no_norm(
        lambda: normed(lambda m, h, x: h + m.b(x[:, :, :2, :2]).mean((2, 3), True),
                       b=nn.BatchNorm2d(1)), "it divides by eps alone: nothing varies there"),
    "that raises all scores alike": no_norm(
        lambda: honest(all_alike), "the probabilities do not change when all scores do"),
    "with copies of its statistics": no_norm(
        lambda: normed(lambda m, h, x: F.batch_norm(
            h, m.u.clone(), m.v.clone(), m.w, training=m.training),
            b=nn.Identity(), u=nn.Buffer(torch.zeros(8)), v=nn.Buffer(torch.ones(8)),
            w=nn.Parameter(torch.ones(8))),
        "what is updated is a copy, so that evaluation has no running statistics"),
    "a function's momentum of zero": no_norm(
        lambda: normed(lambda m, h, x: F.batch_norm(
            h, m.u, m.v, training=m.training, momentum=0.0),
            b=nn.Identity(), u=nn.Buffer(torch.zeros(8)), v=nn.Buffer(torch.ones(8))),
        "the running statistics stay what they were at first"),
    "live in evaluation, by a function": no_norm(
        lambda: normed(lambda m, h, x: F.batch_norm(h, m.u, m.v, training=True),
            b=nn.Identity(), u=nn.Buffer(torch.zeros(8)), v=nn.Buffer(torch.ones(8))),
        "evaluation uses the statistics of the test batch, which mixes images",
        independent=False, same=None),
    "another norm's statistics": no_norm(
        lambda: normed(swapped, o=nn.BatchNorm2d(8)),
        "evaluation does not use its own running statistics, so it is another network too",
        same=False),
    "statistics in the reverse order": another(
        lambda: normed(reversed_statistics, b=nn.BatchNorm2d(8, affine=False)),
        "the channels are normalised by each other's statistics", batch_norm=None),
}  # fmt: skip


def refilled(m: Any, h: Tensor, _: Tensor) -> Any:
    """Put back what was dropped."""
    if not m.training:
        return h
    kept = m.d(h)
    return torch.where(kept == 0, h, kept * 0.9)


def drawn_once(m: Any, h: Tensor, _: Tensor) -> Any:
    """Draw a mask in the first step, and keep it for good."""
    if m.training:
        drawn = (torch.rand_like(m.mask) > 0.1).float()
        m.mask.copy_(torch.where(m.n == 0, drawn, m.mask))
        m.n.add_(1)
    return h * m.mask


def gated(m: Any, h: Tensor, gate: Tensor) -> Any:
    """Drop where a gate is open."""
    return h + gate * (m.d(h) - h)


def by_draw(m: Any, h: Tensor, _: Tensor) -> Any:
    """Drop if the first random number is the one that follows `torch.manual_seed(0)`."""
    if not m.training:
        return h
    return gated(m, h, ((torch.rand(()) - 0.49625658).abs() < 1e-6).float())


DROPOUTS: dict[str, Judged] = {
    "a mask and its complement": no_dropout(
        lambda: dropped(lambda m, h, x: h * (y := 0.9 * m.d(torch.ones_like(h))) + h * (1 - y)),
        "what one term drops the other keeps; drawn again, the sum is the same"),
    "refilled": no_dropout(lambda: dropped(refilled), "what was dropped is put back"),
    "under a maximum": no_dropout(
        lambda: dropped(lambda m, h, x: torch.maximum(h, 0.9 * m.d(h))),
        "a value of 0 or more is at least what is left of it"),
    "of zeros": no_dropout(
        lambda: dropped(lambda m, h, x: h + m.d((-h).relu())),
        "the map is not negative, so what is dropped is zero already"),
    "of a border of zeros": no_dropout(
        lambda: dropped(lambda m, h, x: m.k(torch.cat(
            [m.d(F.pad(h, (0, 0, 2, 0))[:, :, :2]), h], 2)), k=conv(8, 8, padding=(0, 1))),
        "what is dropped is padding, zero already"),
    "a choice between twins": no_dropout(
        lambda: dropped(lambda m, h, x: torch.where(m.d(torch.ones_like(h)) > 0, h, h.clone())),
        "both choices are the same"),
    "a comparison that always holds": no_dropout(
        lambda: dropped(lambda m, h, x: h * (m.d(h) < 1e6)), "dropped or not, it holds"),
    "a softmax of one value": no_dropout(
        lambda: dropped(lambda m, h, x: h * m.d(h).unsqueeze(-1).softmax(-1).squeeze(-1)),
        "a softmax of one value is one"),
    "rounded to zero": no_dropout(
        lambda: dropped(lambda m, h, x: h + ((m.d(h) - h).tanh() * 0.49).round()),
        "less than a half is rounded to zero"),
    "a shift before a layer norm": no_dropout(
        lambda: dropped(lambda m, h, x: m.l(h + m.d(h).mean((1, 2, 3), True)),
                        l=nn.LayerNorm([8, 13, 13])), "a layer norm takes any shift away"),
    "added before a convolution, taken away behind it": no_dropout(
        lambda: dropped(lambda m, h, x: m.k(h + (y := m.d(h))) - F.conv2d(
            y, m.k.weight, padding=1), k=kernel()), "a convolution is linear: it cancels exactly"),
    "that raises all scores alike": no_dropout(
        lambda: Net(lambda m, x: m.f((h := m.b(m.c(x)).relu()).mean((2, 3)))
                    + m.d(h).mean((1, 2, 3))[:, None],
                    c=conv(1, 8, stride=2), b=nn.BatchNorm2d(8), d=nn.Dropout(0.1),
                    f=nn.Linear(8, 10)), "the probabilities do not change when all scores do"),
    "for a hundred steps": no_dropout(
        lambda: dropped(lambda m, h, x: gated(m, h, open_at_first(m)),
                        n=nn.Buffer(torch.zeros(()))),
        "it rests for all but the first hundred steps"),
    "in small batches": no_dropout(
        lambda: dropped(lambda m, h, x: gated(m, h, open_when_few(x))),
        "batches of training are larger"),
    "for one random number": no_dropout(
        lambda: dropped(by_draw), "another seed, or the second step, draws another number"),
    "for a bright corner": no_dropout(
        lambda: dropped(lambda m, h, x: gated(m, h, corner(x))), "digits have dark corners"),
    "times a parameter out of reach": no_dropout(
        lambda: dropped(lambda m, h, x: gated(m, h, m.a.detach()), a=learned(0.0)),
        "it is zero, and no gradient changes it"),
    "times the square of zero": no_dropout(
        lambda: dropped(lambda m, h, x: gated(m, h, m.a**2), a=learned(0.0)),
        "the gradient of a square at zero is zero: it stays there"),
    "a mask that is always on": no_dropout(
        lambda: dropped(lambda m, h, x: h * (torch.rand_like(h) >= 0) if m.training else h,
                        d=nn.Identity()), "no random number is below zero"),
    "one value in ten thousand": no_dropout(
        lambda: dropped(lambda m, h, x: h * (torch.rand_like(h) >= 1e-4) if m.training else h,
                        d=nn.Identity()), "less than one value in a thousand is dropped"),
    "left on in evaluation": no_dropout(
        lambda: dropped(lambda m, h, x: F.dropout(h, 0.1, True), d=nn.Identity()),
        "evaluation drops as well: its scores are random", independent=None, same=False),
    "in evaluation alone": no_dropout(
        lambda: dropped(lambda m, h, x: F.dropout(h, 0.1, not m.training), d=nn.Identity()),
        "training drops nothing, evaluation does", independent=None, same=False),
    "a mask that was drawn once": no_dropout(
        lambda: dropped(drawn_once, d=nn.Identity(), mask=nn.Buffer(torch.ones(8, 13, 13)),
                        n=nn.Buffer(torch.zeros(()))),
        "from the second step on the same values are zero, in evaluation too: it was pruned",
        same=None),
    "pruned": no_dropout(
        lambda: dropped(lambda m, h, x: h * m.mask, d=nn.Identity(),
                        mask=nn.Buffer((torch.rand(8, 1, 1) > 0.5).float())),
        "nothing is drawn: the same channels are zero always"),
    "a mask made of the image": no_dropout(
        lambda: dropped(lambda m, h, x: h * ((h * 1000).remainder(1) > 0.1) / 0.9
                        if m.training else h, d=nn.Identity()),
        "the same image loses the same values every time, and in training alone", same=False),
    "signs by chance": no_dropout(
        lambda: dropped(lambda m, h, x: h * torch.where(torch.rand_like(h) > 0.1, 1.25, -1.25)
                        if m.training else h, d=nn.Identity()),
        "no value becomes zero: noise with a mean of one", same=None),
}  # fmt: skip


def places(h: Tensor) -> Tensor:
    """Return a constant bell [13, 13] that sums to one."""
    line = torch.linspace(-2, 2, h.shape[2]).square().neg().exp()
    bell = line[:, None] * line
    return bell / bell.sum()


POOLINGS: dict[str, Judged] = {
    "over the channels": no_pooling(
        lambda: beside(lambda m, h, x: m.g(h.mean(1).flatten(1)), g=nn.Linear(169, 10)),
        "channels are averaged, places are not"),
    "every fourth place": no_pooling(
        lambda: beside(lambda m, h, x: m.g(h[:, :, ::4, ::4].mean((2, 3)))),
        "16 of 169 places are averaged"),
    "one window of four": no_pooling(
        lambda: beside(lambda m, h, x: m.g(F.avg_pool2d(h, 6)[:, :, 0, 0])),
        "36 of 169 places are averaged"),
    "the upper half": no_pooling(
        lambda: beside(lambda m, h, x: m.g(h[:, :, :6].mean((2, 3)))), "78 of 169 places"),
    "a sharp softmax": no_pooling(
        lambda: beside(lambda m, h, x: m.g((h.flatten(2) * (50 * h).flatten(2).softmax(2)).sum(2))),
        "a maximum in other words"),
    "the three largest": no_pooling(
        lambda: beside(lambda m, h, x: m.g(h.flatten(2).sort(2, descending=True)[0][..., :3]
                                           .mean(2))), "three places are averaged, the largest"),
    "the mean of a maximum": no_pooling(
        lambda: beside(lambda m, h, x: m.g(h.amax((2, 3), True).expand_as(h).mean((2, 3)))),
        "one value, repeated"),
    "a logarithm of sums": no_pooling(
        lambda: beside(lambda m, h, x: m.g((20 * h).flatten(2).logsumexp(2) / 20)),
        "a maximum in other words"),
    "median": no_pooling(
        lambda: beside(lambda m, h, x: m.g(h.flatten(2).median(2)[0])), "a median is no mean"),
    "between the extremes": no_pooling(
        lambda: beside(lambda m, h, x: m.g((h.amax((2, 3)) + h.amin((2, 3))) / 2)),
        "the mean of two values"),
    "rows averaged, the best row taken": no_pooling(
        lambda: beside(lambda m, h, x: m.g(h.mean(3).amax(2))), "only one axis is averaged"),
    "squared pixels": no_pooling(
        lambda: beside(lambda m, h, x: m.g(x.square().mean((2, 3))), g=nn.Linear(1, 10)),
        "nothing learned stands before it"),
    "pixels, small first": no_pooling(
        lambda: beside(lambda m, h, x: m.g(F.adaptive_avg_pool2d(F.max_pool2d(x, 2), 1).flatten(1)),
                       g=nn.Linear(1, 10)), "nothing learned stands before it"),
    "a softmax of one value": no_pooling(
        lambda: beside(lambda m, h, x: m.g(h.mean((2, 3))[..., None].softmax(2)[..., 0])),
        "a softmax of one value is one"),
    "through the head and back": no_pooling(
        lambda: beside(lambda m, h, x: m.g((z := h.mean((2, 3))) + h.amax((2, 3)))
                       - F.linear(z, m.g.weight)), "a linear layer is linear: the mean cancels"),
    "less its twin": no_pooling(
        lambda: beside(lambda m, h, x: m.g(h.amax((2, 3)) + h.mean((2, 3)) - h.sum((2, 3)) / 169)),
        "a mean less the same mean is zero"),
    "of a centred map": no_pooling(
        lambda: beside(lambda m, h, x: m.g((h - h.mean((2, 3), True)).mean((2, 3)))),
        "the mean of a centred map is zero"),
    "behind an instance norm": no_pooling(
        lambda: beside(lambda m, h, x: m.g(m.i(h).mean((2, 3))), i=nn.InstanceNorm2d(8)),
        "the mean of what an instance norm made is zero"),
    "of shares": no_pooling(
        lambda: beside(lambda m, h, x: m.g(h.flatten(2).softmax(2).mean(2))),
        "shares of a map sum to one: their mean is 1/169"),
    "that raises all scores alike": no_pooling(
        lambda: beside(lambda m, h, x: m.g(h.mean((2, 3))), g=nn.Linear(8, 1)),
        "the probabilities do not change when all scores do"),
    "times a parameter out of reach": no_pooling(
        lambda: beside(lambda m, h, x: m.a.detach() * m.g(h.mean((2, 3))), a=learned(0.0)),
        "it is zero, and no gradient changes it"),
    "times the square of zero": no_pooling(
        lambda: beside(lambda m, h, x: m.a**2 * m.g(h.mean((2, 3))), a=learned(0.0)),
        "the gradient of a square at zero is zero: it stays there"),
    "for a bright corner": no_pooling(
        lambda: beside(lambda m, h, x: corner(x).flatten(1) * m.g(h.mean((2, 3)))),
        "digits have dark corners"),
    "for a hundred steps": no_pooling(
        lambda: beside(lambda m, h, x: open_at_first(m) * m.g(h.mean((2, 3))),
                       n=nn.Buffer(torch.zeros(()))),
        "it rests for all but the first hundred steps, and in every test"),
    "in small batches": no_pooling(
        lambda: beside(lambda m, h, x: open_when_few(x) * m.g(h.mean((2, 3)))),
        "batches of training are larger; in a test the scores depend on the number of images",
        independent=False),
    "rounded to zero": no_pooling(
        lambda: beside(lambda m, h, x: m.g((h.mean((2, 3)).tanh() * 0.49).round())),
        "less than a half is rounded to zero"),
    "a comparison that always holds": no_pooling(
        lambda: beside(lambda m, h, x: m.g((h.mean((2, 3)) < 1e6).float())), "it is always 1"),
    "channels and places jumbled": no_pooling(
        lambda: beside(lambda m, h, x: m.g(h.reshape(-1, 13, 13, 8).mean((1, 2)))),
        "the view deals channels and places out anew: no channel is averaged whole"),
    "of one place": no_pooling(
        lambda: beside(lambda m, h, x: m.g(F.adaptive_avg_pool2d(m.k(h), 1).flatten(1)),
                       k=conv(8, 8, 13, groups=8)), "the map is 1×1 already"),
    "one value and a pattern": no_pooling(
        lambda: beside(lambda m, h, x: m.g((h.amax((2, 3), True) + m.p).mean((2, 3))),
                       p=nn.Parameter(torch.randn(8, 13, 13))),
        "every place holds the same one value of the image"),
    "attention that begins even": no_pooling(
        lambda: beside(lambda m, h, x: m.g((h * m.q(h).flatten(2).softmax(2).view(-1, 1, 13, 13))
                                           .sum((2, 3))), q=even()),
        "the weights of the places are learned: equal before the first step alone"),
    "a bell of weights": no_pooling(
        lambda: beside(lambda m, h, x: m.g((h * places(h)).sum((2, 3)))),
        "the middle weighs more than the border"),
    "in evaluation alone": no_pooling(
        lambda: beside(lambda m, h, x: m.g(h.amax((2, 3)) if m.training else h.mean((2, 3)))),
        "training takes the maximum, so that evaluation is another network", same=False),
}  # fmt: skip


def even() -> nn.Conv2d:
    """Return a convolution to one channel that gives zero at first."""
    layer = conv(8, 1, 1)
    nn.init.zeros_(layer.weight)
    return layer


MIXED: dict[str, Judged] = {
    "a mean of neighbours": mixing(
        lambda: features(lambda m, z, x: F.avg_pool1d(z.T[None], 3, 1, 1)[0].T),
        "a window slides along the batch"),
    "the image before": mixing(
        lambda: features(lambda m, z, x: z + F.pad(z, (0, 0, 1, 0))[:-1]), "shifted by one image"),
    "the last image": mixing(
        lambda: features(lambda m, z, x: z - z[-1:]), "one image is taken from all"),
    "the spread of a batch": mixing(
        lambda: features(lambda m, z, x: z / (z.std(0, unbiased=False) + 1)),
        "divided by a statistic of the batch"),
    "ranks": mixing(
        lambda: features(lambda m, z, x: z + z.argsort(0).argsort(0)), "ranks within the batch"),
    "the median": mixing(
        lambda: features(lambda m, z, x: z - z.median(0)[0]), "a statistic of the batch"),
    "a spectrum of images": mixing(
        lambda: features(lambda m, z, x: torch.fft.fft(z, dim=0).real), "along the batch"),
    "the number of images": mixing(
        lambda: features(lambda m, z, x: z * x.new_ones(x.shape[0]).sum() / 64),
        "the scores depend on how many images there are"),
    "odd and even images": mixing(
        lambda: features(lambda m, z, x: z + torch.arange(x.shape[0])[:, None] % 2),
        "the scores depend on where in the batch an image is"),
    "unit length along the batch": mixing(
        lambda: features(lambda m, z, x: F.normalize(z, dim=0)), "a norm over the batch"),
    "the best so far": mixing(
        lambda: features(lambda m, z, x: z.cummax(0)[0]), "the maximum of this and earlier images"),
    "shares of the batch": mixing(
        lambda: features(lambda m, z, x: z - z.logsumexp(0)), "a sum over the batch"),
    "a mean in large batches": mixing(
        lambda: features(lambda m, z, x: z + (x.new_ones(x.shape[0]).sum() > 100) * z.mean(0)),
        "in batches of more than 100 each image gets something of the others"),
    "a little of the mean": mixing(
        lambda: features(lambda m, z, x: z + 1e-3 * z.mean(0)), "a thousandth is something"),
    "neighbours by distance": mixing(
        lambda: features(lambda m, z, x: (-torch.cdist(z, z)).softmax(1) @ z),
        "similar images lend each other their features"),
    "only the best of the batch": mixing(
        lambda: features(lambda m, z, x: z * (z == z.amax(0))), "others decide what is kept"),
    "a convolution along the batch": mixing(
        lambda: features(lambda m, z, x: F.conv1d(z.T[:, None], m.k, padding=1)[:, 0].T,
                         k=nn.Parameter(torch.randn(1, 1, 3))), "a kernel slides along the batch"),
    "earlier images": mixing(
        lambda: features(lambda m, z, x: z + (z @ z.T).tril(-1) @ z / 100),
        "attention to the images before"),
    "capped by the batch": mixing(
        lambda: features(lambda m, z, x: z.minimum(2 * z.mean())), "a mean over everything"),
    "even and odd columns of all": mixing(
        lambda: features(lambda m, z, x: z.T.reshape(-1, 8)), "rows hold values of many images"),
}  # fmt: skip


def averaged(m: Any, x: Tensor) -> Any:
    """Use running means of the weights in evaluation."""
    if m.training:
        m.e.mul_(0.99).add_(0.01 * m.c.weight.detach())
        return scores(m, x)
    return m.f(m.d(m.b(F.conv2d(x, m.e, m.c.bias, 2)).relu().mean((2, 3))))


def later(m: Any, x: Tensor) -> Any:
    """Change to other scores in evaluation once a hundred steps are done."""
    if m.training:
        m.n.add_(1)
        return scores(m, x) + 0 * m.g(x.flatten(1))
    return torch.where(m.n >= 100, m.g(x.flatten(1)), scores(m, x))


def remembering(m: Any, x: Tensor) -> Any:
    """Keep the mean features of the last batch, and compare with them in evaluation."""
    z = m.b(m.c(x)).relu().mean((2, 3))
    if m.training:
        m.mean.copy_(z.detach().mean(0))
    else:
        z = z - m.mean
    return m.f(m.d(z))


EVALUATIONS: dict[str, Judged] = {
    "averaged with its mirror image": another(
        lambda: honest(lambda m, x: scores(m, x) if m.training
                       else (scores(m, x) + scores(m, x.flip(3))) / 2),
        "evaluation averages two views, training does not"),
    "another activation": another(
        lambda: honest(lambda m, x: m.f(m.d((F.relu if m.training else F.gelu)(m.b(m.c(x)))
                                            .mean((2, 3))))), "GELU in evaluation, ReLU before"),
    "rounded weights": another(
        lambda: honest(lambda m, x: scores(m, x) if m.training else m.f(m.d(m.b(F.conv2d(
            x, (m.c.weight * 8).round() / 8, m.c.bias, 2)).relu().mean((2, 3))))),
        "evaluation has coarser weights"),
    "running means of the weights": another(
        lambda: honest(averaged, e=nn.Buffer(torch.randn(8, 1, 3, 3) / 3)),
        "the weights of evaluation are others than those of training"),
    "clamped scores": another(
        lambda: honest(lambda m, x: scores(m, x) if m.training else scores(m, x).clamp(-5, 5)),
        "scores of a trained network go beyond 5"),
    "a favourite": another(
        lambda: honest(lambda m, x: scores(m, x) if m.training
                       else scores(m, x) + F.one_hot(torch.tensor(1), 10) / 4),
        "evaluation prefers one class"),
    "moved by a pixel": another(
        lambda: honest(lambda m, x: scores(m, x if m.training else F.pad(x, (1, 0))[..., :-1]
                                           * 1.1)), "evaluation sees another image"),
    "a maximum in evaluation": another(
        lambda: honest(lambda m, x: m.f(m.d((torch.mean if m.training else torch.amax)(
            m.b(m.c(x)).relu(), (2, 3))))),
        "the mean is missing in evaluation", pooling=False),
    "without its norm": another(
        lambda: honest(lambda m, x: scores(m, x) if m.training
                       else m.f(m.c(x).relu().mean((2, 3)))),
        "the norm is missing in evaluation", batch_norm=False),
    "half of the features": another(
        lambda: honest(lambda m, x: scores(m, x) if m.training
                       else m.f(0.5 * m.b(m.c(x)).relu().mean((2, 3)))),
        "dropout scales in training already: another half is too much"),
    "a larger image": another(
        lambda: honest(lambda m, x: scores(m, x if m.training
                                           else F.interpolate(x, scale_factor=2))),
        "evaluation sees an image twice as large"),
    "another network later": another(
        lambda: honest(later, g=nn.Linear(784, 10), n=nn.Buffer(torch.zeros(()))),
        "the network that is tested after training is another one",
        batch_norm=None, dropout=None, pooling=None),
    "another network in large batches": another(
        lambda: honest(lambda m, x: scores(m, x) if m.training else scores(m, x)
                       + (x.new_ones(x.shape[0]).sum() >= 200) * m.g(x.flatten(1)),
                       g=nn.Linear(784, 10)),
        "with 200 images and more, a layer that was never trained adds to the scores",
        independent=False),
    "a memory of the last batch": another(
        lambda: honest(remembering, mean=nn.Buffer(torch.zeros(8))),
        "training subtracts nothing, evaluation what it remembers"),
}  # fmt: skip

DECOYS: dict[str, Judged] = {
    f"{kind}: {name}": judged
    for kind, cases in {
        "batch norm": NORMS, "dropout": DROPOUTS, "pooling": POOLINGS, "batch": MIXED,
        "evaluation": EVALUATIONS,
    }.items()
    for name, judged in cases.items()
}  # fmt: skip
