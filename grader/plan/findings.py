"""What is found out about a network, by counting and by measuring, as the Record holds it.

Shapes are those of one image: without the batch.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base: immutable and strict."""


class TensorCount(Struct, frozen=True):
    """How many numbers one tensor adds to the parameters.

    `layer` is the path of the module that holds it, `owner` that module's class. `counted` is
    false only for what batch norm keeps by itself. Of parameters, `used` is false where no score
    moves with it, and `idle` is true where none does in training, as with a bias before batch norm.
    """

    name: str
    role: Literal["parameter", "buffer", "constant"]
    layer: str
    owner: str
    shape: list[int]
    count: int
    trainable: bool
    counted: bool
    used: bool = True
    idle: bool = False


class Layer(Struct, frozen=True):
    """One step of the training graph that a person would draw.

    `name` is the module's path, or the operation where no module stands. `parameters` are those
    that no earlier layer has. `macs` are multiply-accumulates and `activations` elements of the
    result, both for one image. `receptive_field` and `jump` are pixels of the image, (height,
    width); None means the whole image. kernel, stride, padding and dilation are None where the
    layer has none. `reads` are the places, in the list of layers, of those whose results it works
    on, as they are or after operations that are no layers.
    """

    name: str
    kind: str
    op: str
    shape: list[int]
    parameters: int
    macs: int
    activations: int
    receptive_field: tuple[int, int] | None
    jump: tuple[float, float] | None
    on_path: bool
    kernel: list[int] | None = None
    stride: list[int] | None = None
    padding: list[int] | None = None
    dilation: list[int] | None = None
    where: str = ""
    reads: list[int] = []


class Finding(Struct, frozen=True):
    """Something that is, or looks like, what a requirement asks for; `why` it counts or does not.

    `before` and `after` are the shapes that went in and came out; `node` is the operation of the
    graph that does it.
    """

    what: str
    name: str
    counts: bool
    why: str
    before: list[int]
    after: list[int]
    where: str = ""
    node: str = ""


class Mixing(Struct, frozen=True):
    """An operation of the evaluation graph through which images of a batch affect each other."""

    op: str
    name: str
    why: str
    where: str = ""


Output = Literal["log-probabilities", "probabilities", "logits"]


class Facts(Struct, frozen=True):
    """Everything the checks and reports need to know of a network.

    `parameters` is the count the limit is for: every declared parameter (shared ones once, unused
    ones too), buffers beyond batch norm's own, and constants baked into the graph. `declared` are
    the parameters alone, as `sum(p.numel())` gives them. They come from the Plan; what follows is
    measured, with random numbers from `seed`. `unused` are declared parameters that move no score.

    `same_network` says whether the evaluation graph gives the scores of the training graph with
    dropout off, batch norm frozen and noise at its mean; `difference` shows where not (`-`
    training, `+` evaluation). `batch_independent` is false when `mixing` names an operation.
    `contradictions` say what is not as the description states it. `symmetries` are the turns of the
    images (`grader.datasets.mask`) that turned weights undo; 0 is none.
    """

    class_name: str
    parameters: int
    declared: int
    tensors: list[TensorCount]
    unused: int = 0
    macs: int = 0
    activations: int = 0
    classes: int = 0
    output: Output = "logits"
    layers: list[Layer] = []
    batch_norm: list[Finding] = []
    dropout: list[Finding] = []
    global_average_pooling: list[Finding] = []
    same_network: bool = True
    difference: list[str] = []
    batch_independent: bool = True
    mixing: list[Mixing] = []
    contradictions: list[str] = []
    symmetries: tuple[int, ...] = (0,)
    notes: list[str] = []
    seed: int = 0


class Fixed(Struct, frozen=True):
    """Numbers that a submission brings along, and that no training changes.

    `what` says of which kind, `name` whose they are, `where` the line that brings them.
    """

    what: str
    name: str
    count: int
    where: str = ""
