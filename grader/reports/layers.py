"""A network as the table its author would draw: one row a layer that learns or pools."""

from __future__ import annotations

from rich.table import Table

from grader.record import Layer
from grader.reports.text import titled

QUIET = ("activation", "batch norm", "norm", "dropout")
"""Kinds of layers that change no shape."""


def drawn(layers: list[Layer]) -> list[Layer]:
    """Return the layers that change a shape, on the path from input to output."""
    return [layer for layer in layers if layer.on_path and layer.kind not in QUIET]


def table(layers: list[Layer]) -> Table:
    """Return rows of name, kind, output shape, parameters, costs and receptive field."""
    made = titled("Layer", "Kind", "Output", "Parameters", "MACs", "Sees", right=range(2, 6))
    for layer in drawn(layers):
        made.add_row(
            layer.name, kind_text(layer), shape_text(layer.shape),
            f"{layer.parameters:,}", f"{layer.macs:,}", field_text(layer),
        )  # fmt: skip
    return made


def kind_text(layer: Layer) -> str:
    """Return a layer's kind with its kernel: `convolution 3×3`."""
    return layer.kind + (f" {shape_text(layer.kernel)}" if layer.kernel else "")


def shape_text(shape: list[int]) -> str:
    """Return a shape as people write it: 10×28×28."""
    return "×".join(map(str, shape))


def field_text(layer: Layer) -> str:
    """Return a receptive field in pixels of the image."""
    return "all" if layer.receptive_field is None else shape_text(list(layer.receptive_field))
