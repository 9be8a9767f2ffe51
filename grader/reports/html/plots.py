"""Plots as SVG that stands in a page: its texts are text, and its colours are the page's.

matplotlib draws; it is imported when the first plot is asked for. Every colour it is given is a
placeholder, which becomes a variable of the page's style: the same drawing is light and dark.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_COLOURS = {
    name: f"#0{number:x}0a0b"
    for number, name in enumerate(("ink", "muted", "line", "accent", "second", "good", "bad"), 1)
}
_INK, _MUTED, _LINE, _ACCENT, _SECOND, _GOOD, _BAD = _COLOURS.values()
_SETTINGS: dict[Any, Any] = {  # matplotlib's type has a literal for each of its 300 names
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 9.5, "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED, "axes.titlecolor": _INK, "axes.titlesize": 10.0,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "text.color": _INK,
    "xtick.color": _LINE, "ytick.color": _LINE, "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED, "axes.grid": True, "grid.color": _LINE, "grid.linewidth": 0.5,
    "axes.axisbelow": True, "lines.linewidth": 1.8, "lines.solid_capstyle": "round",
    "legend.frameon": False, "legend.fontsize": 9.0, "legend.handlelength": 1.4,
}  # fmt: skip
_MARKED = 40  # points from which on a line has no dots
_TICKS = (90, 70, 50, 30, 20, 10, 5, 3, 2, 1, 0.6, 0.3, 0.1, 0.03, 0.01)  # per cent wrong
_NAME = 14  # characters of a layer's name
_LEAST = 0.01  # per cent wrong: one image of MNIST's, where a logarithm needs more than none


def losses(train: Sequence[float], test: Sequence[float | None]) -> Markup:
    """Plot the mean loss of each epoch, in training and of the test set."""

    def draw(axes: Axes) -> None:
        _line(axes, train, _MUTED, "training")
        _line(axes, [math.nan if value is None else value for value in test], _ACCENT, "test")
        _epochs(axes, "loss", len(train))
        axes.set_ylim(bottom=0)
        axes.legend()

    return _plot(draw, "Loss", f"Loss after each of {len(train)} epochs; the table has the figures")


def accuracies(
    train: Sequence[float], tests: Sequence[Sequence[float]], limit: float | None
) -> Markup:
    """Plot accuracies in per cent after each epoch, in training and of each run's test.

    The scale is that of the logarithm of what is wrong: 90 to 99 % is as far as 99 to 99.9 %.
    """

    def draw(axes: Axes) -> None:
        _line(axes, _wrong(train), _MUTED, "training")
        for number, test in enumerate(tests):
            _line(axes, _wrong(test), _ACCENT, "test" if number == 0 else "")
        if limit is not None and limit < 100:
            asked = f"asked for: {limit:g}%"
            axes.axhline(100 - limit, color=_GOOD, linestyle="--", linewidth=1.2, label=asked)
        _epochs(axes, "accuracy", max(map(len, [train, *tests])))
        axes.set_yscale("log")
        axes.invert_yaxis()
        _as_accuracies(axes.yaxis, axes.get_ylim())
        axes.legend()

    return _plot(draw, "Accuracy", "Accuracy after each epoch; the table has the figures")


def _wrong(accuracies: Sequence[float]) -> list[float]:
    return [max(100 - accuracy, _LEAST) for accuracy in accuracies]


def rates(epochs: Sequence[float], values: Sequence[float]) -> Markup:
    """Plot the learning rate, against epochs, whole or not."""

    def draw(axes: Axes) -> None:
        dots = "o" if len(values) == 1 else ""
        axes.plot(epochs, values, color=_SECOND, marker=dots, markersize=4)
        _epochs(axes, "rate", max(1, math.ceil(max(epochs))))
        axes.set_ylim(bottom=0, top=1.08 * max(*values, 1e-9))

    return _plot(
        draw, "Learning rate", f"Learning rate, between {min(values):g} and {max(values):g}"
    )


def certainty(
    judged: float, interval: tuple[float, float], limit: float, runs: Sequence[float]
) -> Markup:
    """Plot an accuracy with its 95 % interval, its runs, and the limit, all in per cent."""

    def draw(axes: Axes) -> None:
        low, high = interval
        colour = _BAD if high < limit else _GOOD if low >= limit else _SECOND
        axes.axvline(limit, color=_INK, linestyle="--", linewidth=1.2)
        axes.annotate(
            f"asked for: {limit:g}%", (limit, 1), xycoords=("data", "axes fraction"),
            xytext=(0, 3), textcoords="offset points", ha="center", fontsize=9, color=_INK,
        )  # fmt: skip
        axes.plot([low, high], [0, 0], color=colour, linewidth=9, alpha=0.35)
        if len(runs) > 1:
            axes.plot(runs, [0] * len(runs), "o", color=colour, markersize=4, alpha=0.7)
        axes.plot([judged], [0], "D", color=colour, markersize=7)
        axes.set(ylim=(-1, 1), yticks=[])
        points = [low, high, limit, judged, *runs]
        room = max(0.12 * (max(points) - min(points)), 0.02)
        axes.set_xlim(min(points) - room, min(max(points) + room, 100 + room))
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}%" if value <= 100 else "")
        axes.locator_params(axis="x", nbins=5)

    words = f"{judged:.2f}%, 95% interval {interval[0]:.2f} to {interval[1]:.2f}%, limit {limit:g}%"
    return _plot(draw, "", f"Accuracy {words}", height=1.1)


def fields(names: Sequence[str], sizes: Sequence[int], subject: int, image: int) -> Markup:
    """Plot the receptive field of each layer in pixels, and how wide what an image shows is.

    Names are a submission's: of their characters only those of words are drawn.
    """
    labels = [re.sub(r"[^\w.]", "_", name[-_NAME:], flags=re.ASCII) for name in names]

    def draw(axes: Axes) -> None:
        places = range(len(sizes))
        axes.bar(places, [min(size, image) for size in sizes], color=_ACCENT, alpha=0.75, width=0.7)
        for height, words in ((subject, "what it shows"), (image, "the image")):
            axes.axhline(height, color=_MUTED, linestyle="--", linewidth=1)
            axes.annotate(
                f"{words}: {height}", (0, height), xycoords=("axes fraction", "data"),
                xytext=(2, 2), textcoords="offset points", fontsize=8, color=_MUTED,
            )  # fmt: skip
            if subject == image:
                break
        shown = labels if len(labels) <= 12 else [""] * len(labels)
        axes.set_xticks(list(places), list(shown), rotation=40, ha="right", rotation_mode="anchor")
        axes.set(ylim=(0, 1.15 * image), ylabel="pixels")
        axes.grid(visible=False)

    words = ", ".join(f"{name} {size}" for name, size in zip(names, sizes, strict=True))
    return _plot(draw, "", f"Receptive fields in pixels: {words[:1000]}", height=2.6)


def scores(values: Sequence[float], most: float) -> Markup:
    """Plot how many submissions have how many points, of `most`."""

    def draw(axes: Axes) -> None:
        _bars(axes, values, [most * n / 20 for n in range(21)])
        axes.set(xlabel="points", xlim=(-0.01 * most, 1.01 * most))

    words = f"Scores of {len(values)} submissions, from {min(values):g} to {max(values):g}"
    return _plot(draw, "Scores", words)


def spread(accuracies: Sequence[float], limit: float) -> Markup:
    """Plot how many submissions reached which accuracy, in per cent; scaled as `accuracies`."""

    def draw(axes: Axes) -> None:
        wrong = _wrong(accuracies)
        low, high = math.log10(min(wrong) / 1.3), math.log10(max(wrong) * 1.3)
        _bars(axes, wrong, [10 ** (low + (high - low) * n / 16) for n in range(17)])
        if limit < 100:
            asked = f"asked for: {limit:g}%"
            axes.axvline(100 - limit, color=_GOOD, linestyle="--", linewidth=1.2, label=asked)
            axes.legend()
        axes.set(xscale="log", xlabel="accuracy")
        _as_accuracies(axes.xaxis, axes.get_xlim())
        axes.invert_xaxis()

    low, high = min(accuracies), max(accuracies)
    words = f"Accuracies of {len(accuracies)} submissions, from {low:.2f}% to {high:.2f}%"
    return _plot(draw, "Accuracies", words)


def _bars(axes: Axes, values: Sequence[float], bins: Sequence[float]) -> None:
    axes.hist(values, bins=bins, color=_ACCENT, alpha=0.8, rwidth=0.9)
    axes.set_ylabel("submissions")
    axes.locator_params(axis="y", integer=True, nbins=6)
    axes.grid(visible=False, axis="x")


def _as_accuracies(axis: Axis, limits: tuple[float, float]) -> None:
    """Let an axis of per cent that are wrong show the accuracies."""
    low, high = sorted(limits)
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    axis.set_ticks(ticks, [f"{100 - tick:g}%" for tick in ticks])
    axis.minorticks_off()


def trade_off(
    parameters: Sequence[int], accuracies: Sequence[float], front: Sequence[int],
    limits: tuple[int, float],
) -> Markup:  # fmt: skip
    """Plot accuracy against parameters; `front` are places of those that none is better than."""

    def draw(axes: Axes) -> None:
        least, asked = limits
        axes.axvline(least, color=_LINE, linestyle="--", linewidth=1.2)
        axes.axhline(100 - asked, color=_LINE, linestyle="--", linewidth=1.2)
        axes.scatter(parameters, _wrong(accuracies), s=22, color=_ACCENT, alpha=0.6, linewidths=0)
        best = sorted((parameters[place], _wrong(accuracies)[place]) for place in front)
        if best:
            sizes, wrong = zip(*best, strict=True)
            axes.step(sizes, wrong, where="post", color=_GOOD, linewidth=1.4)
            axes.scatter(sizes, wrong, s=30, color=_GOOD, linewidths=0)
        axes.set(xscale="log", yscale="log", xlabel="parameters")
        axes.invert_yaxis()
        _as_accuracies(axes.yaxis, axes.get_ylim())
        low, high = axes.get_xlim()
        ticks = [n * 10**e for e in range(9) for n in (1, 2, 5) if low <= n * 10**e <= high]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()

    words = f"Accuracy and parameters of {len(parameters)} submissions; the table has the figures"
    return _plot(draw, "Accuracy and size", words)


def _line(axes: Axes, values: Sequence[float], colour: str, label: str) -> None:
    dots = "o" if len(values) <= _MARKED else ""
    axes.plot(
        range(1, len(values) + 1), values, color=colour, marker=dots, markersize=3.5,
        label=label or None,
    )  # fmt: skip


def _epochs(axes: Axes, label: str, count: int) -> None:
    axes.set(xlabel="epoch", ylabel=label)
    axes.locator_params(axis="x", integer=True, nbins=min(count + 1, 8))
    axes.grid(visible=False, axis="x")


def _plot(draw: Callable[[Axes], None], title: str, words: str, height: float = 2.4) -> Markup:
    """Return a drawing, 4.4 inches wide, as an element `svg` that says in words what it shows."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS | {"svg.hashsalt": f"{title} {words}"}):  # no two ids are equal
        figure = Figure(figsize=(4.4, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        if title:
            axes.set_title(title)
        draw(axes)
        file = io.StringIO()
        nothing: Mapping[str, None] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return _as_element(file.getvalue(), words)


def _as_element(file: str, words: str) -> Markup:
    """Take the element out of the file, and put the page's colours and fonts into it."""
    svg = file[file.index("<svg") :]
    for name, colour in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # would hold for the whole page
    svg = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", svg)
    svg = re.sub(r"font: ((?:\w+ )*[\d.]+px) [^;\"]*", r"font: \1 var(--sans)", svg)
    svg = svg.replace("xlink:href", "href")
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", svg)
    label = f'role="img" aria-label="{escape(words)}"'
    head, _, rest = svg.partition(">")
    box = re.findall(r'viewBox="[^"]*"', head)[0]
    svg = f'<svg class="plot" {box} {label}>{rest}'
    return Markup(svg)  # noqa: S704 - drawn by matplotlib, which escapes texts
