"""The Plan: a network as two graphs of ATen operations, and a training recipe as numbers.

A Plan is plain JSON. It comes out of a process in which student code ran, so it is read as
hostile input: msgspec checks types and sizes, `validate.py` checks what a type cannot say.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MAX_NODES = 20_000
MAX_TENSORS = 20_000
MAX_STEPS = 1_500_000  # optimiser steps: 20 epochs at batch size 1 fit
MAX_CONSTANTS = 100_000  # numbers baked into a graph; every one counts as a parameter

Name = Annotated[str, Meta(min_length=1, max_length=300)]
Text = Annotated[str, Meta(max_length=2_000)]
Size = Annotated[int, Meta(ge=0, le=10**9)]
Dim = Size | Annotated[str, Meta(max_length=200)]  # a string is a formula of the batch size "B"
Shape = Annotated[list[Dim], Meta(max_length=12)]


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all records in a Plan: immutable, and strict about unknown fields."""


class Ref(Struct, frozen=True):
    """The result of an earlier node, a tensor of the model, or an input, by its name."""

    ref: Name


Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]  # what an operation can be given
Item = None | bool | Whole | float | Text | Ref
Items = Annotated[list[Item], Meta(max_length=10_000)]
Value = Item | Annotated[list[Item | Items], Meta(max_length=10_000)]  # no ATen list is deeper


class Node(Struct, frozen=True):
    """One operation.

    `op` is an ATen overload (`aten.conv2d.default`), a function of Python's `operator` on
    integers (`operator.mul`), or `operator.getitem` on a result that is a tuple. `shape` is
    None where the result is not a tensor. `module` is the dotted path of the `nn.Module` that
    ran the operation, `where` the line of the submission it stands on.
    """

    name: Name
    op: Name
    args: list[Value]
    kwargs: dict[str, Value]
    shape: Shape | None
    dtype: Name
    module: Text = ""
    where: Text = ""


class Graph(Struct, frozen=True):
    """Operations in the order they run; `output` names the one whose result is returned."""

    inputs: Annotated[list[Name], Meta(max_length=4)]
    nodes: Annotated[list[Node], Meta(max_length=MAX_NODES)]
    output: Name


class KaimingUniform(Struct, frozen=True, tag="kaiming_uniform"):
    """U(-b, b) with b = 1/sqrt(fan_in): what `nn.Conv*` and `nn.Linear` give their weights.

    Source: torch.nn.modules.conv and .linear, `kaiming_uniform_(weight, a=sqrt(5))`.
    `bound` is b, worked out from the module by its own rule.
    """

    bound: Annotated[float, Meta(ge=0, le=1e6)]


class Constant(Struct, frozen=True, tag="constant"):
    """Every element has this value (batch norm's ones and zeros)."""

    value: float


class Normal(Struct, frozen=True, tag="normal"):
    """Elements drawn from N(mean, std²)."""

    mean: Annotated[float, Meta(ge=-1e6, le=1e6)]
    std: Annotated[float, Meta(ge=0, le=1e6)]


class Values(Struct, frozen=True, tag="values"):
    """The elements themselves, row by row: only for buffers and constants, and counted."""

    values: Annotated[list[float], Meta(max_length=MAX_CONSTANTS)]


Init = KaimingUniform | Constant | Normal | Values


class Tensor(Struct, frozen=True):
    """A parameter, buffer or constant of the model, and how the grader fills it.

    `owner` is the class of the module that holds it (`Conv2d`); `state` is true for what
    batch norm keeps by itself (running mean and variance, step counter).
    """

    name: Name
    role: Literal["parameter", "buffer", "constant"]
    shape: Annotated[list[Size], Meta(max_length=12)]
    dtype: Name
    owner: Text
    init: Init
    trainable: bool = False
    state: bool = False


class Model(Struct, frozen=True):
    """The network: its tensors and what `forward` does in training and in evaluation mode."""

    class_name: Name
    where: Text
    input_shape: Annotated[list[Size], Meta(min_length=1, max_length=4)]  # without the batch
    tensors: Annotated[list[Tensor], Meta(max_length=MAX_TENSORS)]
    train: Graph
    eval: Graph


Number = Annotated[float, Meta(ge=-1e6, le=1e6)]
Pair = tuple[Number, Number]
Interpolation = Literal["nearest", "bilinear"]
Positive = Annotated[float, Meta(gt=0, le=1e6)]
Probability = Annotated[float, Meta(ge=0, le=1)]


class Affine(Struct, frozen=True, tag="affine"):
    """`RandomRotation` and `RandomAffine`: one draw an image, uniform in each range.

    Angles are in degrees, counter-clockwise as torchvision's; `translate` is the largest shift
    as a fraction of (width, height), rounded to whole pixels; `fill` is in the image's units.
    """

    degrees: Pair = (0.0, 0.0)
    translate: Pair = (0.0, 0.0)
    scale: Pair = (1.0, 1.0)
    shear_x: Pair = (0.0, 0.0)
    shear_y: Pair = (0.0, 0.0)
    interpolation: Interpolation = "nearest"
    fill: Number = 0.0
    p: Probability = 1.0


class Perspective(Struct, frozen=True, tag="perspective"):
    """`RandomPerspective`."""

    distortion: Probability = 0.5
    interpolation: Interpolation = "bilinear"
    fill: Number = 0.0
    p: Probability = 0.5


Side = Annotated[int, Meta(ge=1, le=256)]
Border = Annotated[int, Meta(ge=0, le=256)]
Borders = tuple[Border, Border, Border, Border]  # left, top, right, bottom
Edge = Literal["constant", "edge", "reflect", "symmetric"]


class Crop(Struct, frozen=True, tag="crop"):
    """`RandomCrop` (`random`) or `CenterCrop`: a window of `size`, (height, width), after padding.

    With `pad_if_needed` an image that is too small first gets, on either side, what it lacks.
    """

    size: tuple[Side, Side]
    padding: Borders = (0, 0, 0, 0)
    random: bool = True
    fill: Number = 0.0
    edge: Edge = "constant"
    pad_if_needed: bool = False


class Pad(Struct, frozen=True, tag="pad"):
    """`Pad(padding)`."""

    padding: Borders
    fill: Number = 0.0
    edge: Edge = "constant"


class Resize(Struct, frozen=True, tag="resize"):
    """`Resize`, antialiased as torchvision does for PIL images.

    `size` is (height, width), or the length of the shorter side alone: the ratio is kept then.
    """

    size: Annotated[tuple[Side, ...], Meta(min_length=1, max_length=2)]
    interpolation: Interpolation = "bilinear"


class ResizedCrop(Struct, frozen=True, tag="resized_crop"):
    """`RandomResizedCrop`: a window of random area and ratio, resized to (height, width)."""

    size: tuple[Side, Side]
    scale: Pair = (0.08, 1.0)
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    interpolation: Interpolation = "bilinear"


class Flip(Struct, frozen=True, tag="flip"):
    """`RandomHorizontalFlip` or `RandomVerticalFlip`."""

    axis: Literal["horizontal", "vertical"]
    p: Probability = 0.5


class Jitter(Struct, frozen=True, tag="jitter"):
    """`ColorJitter` of a grey image: factors drawn from each range, in random order."""

    brightness: Pair = (1.0, 1.0)
    contrast: Pair = (1.0, 1.0)
    p: Probability = 1.0


class Erase(Struct, frozen=True, tag="erase"):
    """`RandomErasing` with a constant value, on a float image."""

    p: Probability = 0.5
    scale: Pair = (0.02, 0.33)
    ratio: Pair = (0.3, 3.3)
    value: Number = 0.0


class Blur(Struct, frozen=True, tag="blur"):
    """`GaussianBlur` with an odd kernel and sigma drawn uniformly."""

    kernel: tuple[Annotated[int, Meta(ge=1, le=31)], Annotated[int, Meta(ge=1, le=31)]]
    sigma: Pair = (0.1, 2.0)
    p: Probability = 1.0


class Channels(Struct, frozen=True, tag="channels"):
    """`Grayscale`, or `Lambda(repeat)`: the grey image repeated, or one grey image of colours."""

    count: Annotated[int, Meta(ge=1, le=4)]


class ToFloat(Struct, frozen=True, tag="to_float"):
    """`ToTensor`: bytes 0…255 become floats 0…1."""


class Normalize(Struct, frozen=True, tag="normalize"):
    """`Normalize(mean, std)`, one pair a channel."""

    mean: Annotated[list[Number], Meta(min_length=1, max_length=4)]
    std: Annotated[list[Annotated[float, Meta(gt=0, le=1e6)]], Meta(min_length=1, max_length=4)]


Step = (
    Affine
    | Perspective
    | Crop
    | Pad
    | Resize
    | ResizedCrop
    | Flip
    | Jitter
    | Erase
    | Blur
    | Channels
    | ToFloat
    | Normalize
)


class Branch(Struct, frozen=True):
    """Transforms that an image gets with the probability `p`."""

    p: Probability
    steps: Annotated[list[Step], Meta(max_length=40)]


class Choice(Struct, frozen=True, tag="choice"):
    """`RandomApply`, `RandomChoice`, `RandomOrder`: each image gets one branch; `p` sum to 1."""

    branches: Annotated[list[Branch], Meta(min_length=1, max_length=64)]


Transform = Step | Choice
Transforms = Annotated[list[Transform], Meta(max_length=40)]

OptimizerName = Literal[
    "SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop", "ASGD",
    "Rprop",
]  # fmt: skip
Option = None | bool | Whole | float | Annotated[list[float], Meta(max_length=4)]


class Group(Struct, frozen=True):
    """One parameter group and the keyword arguments of `torch.optim` that hold for it."""

    parameters: Annotated[list[Name], Meta(max_length=MAX_TENSORS)]
    options: dict[str, Option]


class Optimizer(Struct, frozen=True):
    """A class of `torch.optim` by name, with its groups."""

    name: OptimizerName
    groups: Annotated[list[Group], Meta(min_length=1, max_length=64)]


Steps = Annotated[list[Number], Meta(min_length=1, max_length=MAX_STEPS)]


class Plateau(Struct, frozen=True):
    """`ReduceLROnPlateau`: its options by their own names; `min_lr` has one a parameter group.

    It is replayed on the training loss, or on the training accuracy where `mode` is `max`.
    """

    every: Literal["epoch", "batch"]
    mode: Literal["min", "max"]
    factor: Annotated[float, Meta(ge=0, lt=1)]
    patience: Annotated[int, Meta(ge=0, le=10**9)]
    threshold: Number
    threshold_mode: Literal["rel", "abs"]
    cooldown: Annotated[int, Meta(ge=0, le=10**9)]
    min_lr: Annotated[list[Number], Meta(min_length=1, max_length=64)]
    eps: Number


class Schedule(Struct, frozen=True):
    """The learning rate, and the momentum where it moves, of every optimiser step.

    One list a parameter group. A list of one number holds for the whole run, unless `plateau`
    lowers it on the way.
    """

    lr: Annotated[list[Steps], Meta(min_length=1, max_length=64)]
    momentum: Annotated[list[Steps], Meta(max_length=64)] | None = None
    plateau: Plateau | None = None


Epochs = Annotated[int, Meta(ge=1, le=1_000_000)]
WholeEpochs = Annotated[int, Meta(ge=0, le=1_000_000)]
BatchSize = Annotated[int, Meta(ge=1, le=60_000)]


class Exponential(Struct, frozen=True, tag="exponential"):
    """The mean over all steps, each counting `decay` times as much as the step after it."""

    decay: Annotated[float, Meta(ge=0, lt=1)]


class Tail(Struct, frozen=True, tag="tail"):
    """The plain mean over the steps of the last `epochs` epochs."""

    epochs: Epochs


Averaging = Exponential | Tail


class Recipe(Struct, frozen=True, omit_defaults=True):
    """How the network is trained. `loss` is a graph of `output` (B, classes) and `target` (B,).

    In the last `plain_epochs` the training images get the test transform. With `averaging` it is
    the mean of the weights that is tested and kept. Parts that are off are not written, so that
    a plan without them keeps its hash.
    """

    epochs: Epochs
    batch_size: BatchSize
    optimizer: Optimizer
    schedule: Schedule
    train_transform: Transforms
    test_transform: Transforms
    loss: Graph
    drop_last: bool
    plain_epochs: WholeEpochs = 0
    averaging: Averaging | None = None


class Fact(Struct, frozen=True):
    """Where one part of the Plan came from: `epochs`, `EPOCHS = 15`, `cell 12`."""

    about: Name
    value: Text
    where: Text


class Flaw(Struct, frozen=True):
    """A part of the recipe that the file declares, and that cannot be used: why, and where."""

    about: Name
    message: Text
    where: Text = ""
    help: Text = ""


Flaws = Annotated[list[Flaw], Meta(max_length=100)]


Level = Literal["rebuilt", "sandboxed"]


class Plan(Struct, frozen=True):
    """A submission, reduced to data; one with flaws has no recipe of its own to be trained by.

    At the level `sandboxed` its own loop trains it, in the box: `code_sha256` tells one such loop
    from another.
    """

    model: Model
    recipe: Recipe
    provenance: Annotated[list[Fact], Meta(max_length=100)]
    notes: Annotated[list[Text], Meta(max_length=1_000)] = []
    flaws: Flaws = []
    level: Level = "rebuilt"
    code_sha256: Annotated[str, Meta(max_length=64)] = ""
    version: Literal[1] = 1


Index = Annotated[int, Meta(ge=0, le=10**6)]


class OwnTraining(Struct, frozen=True):
    """Which training of a submission's run counts, where its own loop trains.

    `model` counts the modules it makes, `loaders` its loaders, `first` its passes over any loader:
    from that pass on, these loaders are what the model learns from. With `passes_over` lines that
    fail in its functions are passed over.
    """

    model: Index
    loaders: Annotated[list[Index], Meta(max_length=100)]
    first: Index
    passes_over: bool = False


class Description(Struct, frozen=True):
    """What the sandbox answers: the model, and those parts of the recipe the submission has."""

    model: Model
    epochs: Epochs | None = None
    batch_size: BatchSize | None = None
    optimizer: Optimizer | None = None
    schedule: Schedule | None = None
    train_transform: Transforms | None = None
    test_transform: Transforms | None = None
    loss: Graph | None = None
    drop_last: bool | None = None
    plain_epochs: WholeEpochs = 0
    averaging: Averaging | None = None
    provenance: Annotated[list[Fact], Meta(max_length=100)] = []
    notes: Annotated[list[Text], Meta(max_length=1_000)] = []
    flaws: Flaws = []
    level: Level = "rebuilt"
    own: OwnTraining | None = None
