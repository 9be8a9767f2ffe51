"""Stand-ins for data: sets of the right length with made-up items, loaders with tiny passes.

Runs in the sandbox. A made-up image has the mean and the deviation of MNIST's, or of the data set
that the assignment is about (`asked`).
"""

from __future__ import annotations

import copy
import functools
import inspect
import os
import re
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils import data
from torch.utils._pytree import tree_leaves, tree_map

Item = TypeVar("Item")

TINY = 4  # images a batch; batch norm needs more than one
_SHOWN = 128  # images a batch as long as nothing learns: they are looked at
FIRST, LATER = 3, 1  # batches of a loader's first passes, and of later ones
BLOCK = 1_000  # images that are made; longer sets repeat them


@dataclass(frozen=True)
class Kind:
    """What there is to know of a data set: its images, classes and lengths."""

    channels: int = 1
    size: int = 28
    classes: int = 10
    train: int = 60_000
    test: int = 10_000
    mean: float = 0.13066
    deviation: float = 0.30811
    labels: tuple[str, ...] = ()

    @property
    def normalization(self) -> tuple[float, float]:
        """Mean and deviation with the four decimals that recipes have."""
        return round(self.mean, 4), round(self.deviation, 4)

    @property
    def names(self) -> list[str]:
        """What the classes are called."""
        return [*self.labels] or [str(label) for label in range(self.classes)]

    @property
    def folders(self) -> list[str]:
        """What the folders of the classes are called."""
        return [str(label) for label in range(self.classes)]

    @property
    def ink(self) -> tuple[float, float]:
        """The share of pixels that are ink, and how dark these are: values of two kinds."""
        square = self.mean**2 + self.deviation**2
        return round(self.mean**2 / square, 6), round(square / self.mean * 255, 2)


KINDS = {
    "MNIST": Kind(), "FashionMNIST": Kind(), "KMNIST": Kind(), "QMNIST": Kind(),
    "EMNIST": Kind(classes=47, train=112_800, test=18_800), "USPS": Kind(1, 16, 10, 7_291, 2_007),
    "CIFAR10": Kind(3, 32, 10, 50_000), "CIFAR100": Kind(3, 32, 100, 50_000),
    "SVHN": Kind(3, 32, 10, 73_257, 26_032), "STL10": Kind(3, 96, 10, 5_000, 8_000),
}  # fmt: skip


@dataclass
class _Asked:
    """The data set that the assignment is about."""

    name: str = "MNIST"  # of its class in torchvision.datasets
    title: str = "MNIST"
    form: str = "plain"  # of images that stand for others: with a "channel", or in "colours"

    @property
    def kind(self) -> Kind:
        return KINDS[self.name]

    def images(self, **options: Any) -> Any:
        """Make one half of it; `options` are those of its class."""
        return getattr(Datasets("torchvision.datasets"), self.name)(**options)


asked = _Asked()


def ask_for(told: dict[str, Any]) -> None:
    """Take the data set that the grader tells of for the one that is asked for."""
    asked.name, asked.title = told["torchvision"], told["title"]
    KINDS[asked.name] = Kind(
        told["channels"], told["size"], len(told["classes"]), told["train"], told["test"],
        told["mean"], told["deviation"], tuple(told["classes"]),
    )  # fmt: skip


class Digits(data.Dataset[Any]):
    """Stands for one of torchvision's data sets of images."""

    kind = Kind()

    def __init__(
        self, root: object = None, train: bool = True, transform: Any = None,
        target_transform: Any = None, download: bool = False, **options: object,
    ) -> None:  # fmt: skip
        """Stand for the half that is asked for."""
        split = options.get("split", train)
        self.root, self.target_transform = root, target_transform
        self.transform = transform or options.get("transforms")
        self.train = bool(train) and split not in ("test", "valid", "unlabeled", False)
        self.classes = self.kind.names
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}
        self._made: tuple[Any, Any] | None = None
        Loader.watch.dataset_made(self)

    def __len__(self) -> int:
        """Return how many images the real one has."""
        return self.kind.train if self.train else self.kind.test

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        """Make up an item, as the transforms leave it."""
        if not -len(self) <= int(index) < len(self):
            raise IndexError(index)
        return again(self, int(index), Digits._item, sure=True)

    def _item(self, index: int) -> tuple[Any, Any]:
        from PIL import Image

        images, labels = made_up(self.kind)
        place = index % len(images)
        image = self.picture(Image.fromarray(images[place].numpy()))
        label: Any = int(labels[place])
        image = _applied(self.transform, image)
        return image, _applied(self.target_transform, label)

    def picture(self, image: Any) -> Any:
        """Return an image of PIL's as the real one hands it to its transforms."""
        return image

    @property
    def data(self) -> Any:
        """All images at once, bytes [N, H, W] or [N, H, W, C]."""
        return self._all()[0]

    @data.setter
    def data(self, images: Any) -> None:
        self._made = (images, self._all()[1])

    @property
    def targets(self) -> Any:
        """All labels at once, [N]."""
        return self._all()[1]

    @targets.setter
    def targets(self, labels: Any) -> None:
        self._made = (self._all()[0], labels)

    train_data = test_data = data
    train_labels = test_labels = labels = targets

    def _all(self) -> tuple[Any, Any]:
        if self._made is None:
            images, labels = made_up(self.kind)
            times = -(-len(self) // len(images))
            shape = (times,) + (1,) * (images.dim() - 1)
            self._made = images.repeat(shape)[: len(self)], labels.repeat(times)[: len(self)]
        return self._made


class ImageFolder(Digits):
    """Stands for torchvision's data set of images in folders, one for each class."""

    def __init__(
        self, root: Any, transform: Any = None, target_transform: Any = None, **options: Any
    ) -> None:
        """Stand for the half that the folder speaks of; images have colours without a loader."""
        super().__init__(root, in_training(os.fspath(root)), transform, target_transform)
        self._grey = "loader" in options
        self.classes = self.kind.folders
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}
        STANDS.setdefault(os.fspath(root))

    def picture(self, image: Any) -> Any:
        """Return it in colours, as the default loader has every image."""
        return image if self._grey else image.convert("RGB")

    @property
    def samples(self) -> list[tuple[str, int]]:
        """The paths of all images, with their labels."""
        labels = enumerate(self.targets.tolist())
        return [(f"{self.root}/{self.classes[y]}/{number}.png", y) for number, y in labels]

    imgs = samples


STANDS: dict[str, None] = {}
"""Folders and files that were not handed in, for which made-up images stand."""


def in_training(path: str) -> bool:
    """Tell whether a path or name speaks of the half to train on, or of none."""
    found = re.findall(r"train|test|val|t10k", path.replace("\\", "/").lower())
    return not found or found[-1] == "train"


def again(dataset: Any, index: Any, function: Callable[[Any, Any], Item], *, sure: bool) -> Item:
    """Make an item of a data set; of many that are asked for one by one the same ones again.

    Images that are made up repeat after a block, so that nothing is lost for who looks at them all.
    Where that is not `sure`, it is once some items have been found to repeat, and none not to.
    """
    try:
        within = isinstance(index, int) and 0 <= index < len(dataset)
    except Exception:  # of a data set without a length
        within = False
    if Loader.drawing or not _BLOCKS or not within:
        return function(dataset, index)  # which raises at the end
    seen: dict[Any, Any] = vars(dataset).setdefault("_seen", {})
    transform, place = getattr(dataset, "transform", None), (function, index % BLOCK)
    held = seen.get(place)
    alike = seen.get(function, _SURE if sure else 0)
    if held is None or held[0] is not transform or alike is None:
        item = function(dataset, index)
        seen[place] = transform, item
    elif alike < _SURE:
        item = function(dataset, index)
        seen[function] = alike + 1 if index < BLOCK or _same(item, held[1]) else None
    else:
        item = held[1]
    copied: Item = tree_map(_copied, item)
    return copied


_SURE = 50  # items that repeat


def _same(one: Any, other: Any) -> bool:
    pairs = zip(tree_leaves(one), tree_leaves(other), strict=False)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else copy.copy(value)


def _applied(transform: Any, value: Any) -> Any:
    return value if transform is None else transform(value)


def made_up(kind: Kind) -> tuple[torch.Tensor, torch.Tensor]:
    """Make a block of images and labels, once for each kind."""
    if kind not in _BLOCKS:
        own = torch.Generator().manual_seed(kind.size)
        shape = (BLOCK, kind.size, kind.size) + (kind.channels,) * (kind.channels > 1)
        ink = torch.rand(shape, generator=own)
        share, darkness = kind.ink
        cut = ink.flatten().kthvalue(round(share * ink.numel())).values
        dark = darkness + (torch.rand(shape, generator=own) - 0.5)
        images = torch.where(ink <= cut, dark.round(), 0.0).to(torch.uint8)
        _BLOCKS[kind] = images, torch.randperm(BLOCK, generator=own) % kind.classes
    return _BLOCKS[kind]


_BLOCKS: dict[Kind, tuple[torch.Tensor, torch.Tensor]] = {}


def stand_in_for_own() -> None:
    """Let data sets of the submission's own whose files are not there have made-up items."""
    data.Dataset.__init_subclass__ = classmethod(_standing_in)  # type: ignore[assignment, arg-type, method-assign]


OWN: dict[str, str] = {}
"""Classes of data sets that could not be read, and why."""


def _standing_in(kind: type[Any], **options: Any) -> None:
    super(data.Dataset, kind).__init_subclass__(**options)
    if kind.__module__.startswith("torch") or issubclass(kind, (Digits, data.IterableDataset)):
        return
    made = vars(kind)
    for name, wrap in (("__init__", _init), ("__len__", _len), ("__getitem__", _item)):
        if inspect.isfunction(made.get(name)):
            setattr(kind, name, functools.wraps(made[name])(wrap(made[name])))


def _init(init: Callable[..., None]) -> Callable[..., None]:
    def made(dataset: Any, *args: Any, **options: Any) -> None:
        Loader.watch.dataset_made(dataset)
        try:
            init(dataset, *args, **options)
        except Exception as error:  # most likely of a file that is not there
            given = inspect.signature(init).bind_partial(dataset, *args, **options).arguments
            words = [str(value) for value in given.values() if isinstance(value, str)]
            test = given.get("train") is False or re.search("test|val", " ".join(words))
            vars(dataset).setdefault("transform", given.get("transform"))
            _lose(dataset, error, train=not test)

    return made


def _len(length: Callable[..., int]) -> Callable[..., int]:
    def counted(dataset: Any) -> int:
        try:
            count = 0 if "_lost" in vars(dataset) else length(dataset)
        except Exception as error:
            _lose(dataset, error)
            count = 0
        if not count and "_lost" not in vars(dataset):
            _lose(dataset, ValueError("it is empty here"))
        return count or len(dataset._lost)

    return counted


def _item(item: Callable[..., Any]) -> Callable[..., Any]:
    def got(dataset: Any, index: Any) -> Any:
        if "_lost" not in vars(dataset):
            try:
                return again(dataset, index, item, sure=False)
            except (IndexError, StopIteration):
                raise
            except Exception as error:
                _lose(dataset, error)
        image, label = dataset._lost[index]
        image = image.convert("RGB") if asked.form == "colours" else image
        return _turned(getattr(dataset, "transform", None), image), label

    return got


def _turned(transform: Any, image: Any) -> Any:
    """Transform an image, handed over as whatever the transform wants."""
    pixels = np.array(image)
    for kind in (image, pixels, pixels[:, :, None], torch.from_numpy(pixels)[None]):
        try:
            return _applied(transform, kind)
        except (TypeError, ValueError, AttributeError):
            continue
    return image


def _lose(dataset: Any, error: Exception, *, train: bool = True) -> None:
    OWN.setdefault(type(dataset).__name__, f"{type(error).__name__}: {error}"[:200])
    vars(dataset)["_lost"] = asked.images(train=train)


class Datasets(types.ModuleType):
    """Stands for `torchvision.datasets`."""

    def __getattr__(self, name: str) -> Any:
        """Give a class of made-up images by any name that starts in upper case."""
        if name.startswith("_") or not name[:1].isupper():
            raise AttributeError(name)
        bases = (ImageFolder if name in ("ImageFolder", "DatasetFolder") else Digits,)
        made = type(name, bases, {"kind": KINDS.get(name, asked.kind)})
        made.__module__ = self.__name__
        setattr(self, name, made)
        return made


def are_datasets(name: str) -> bool:
    """Tell whether a module is torchvision's data sets, or one of them."""
    return f"{name}.".startswith("torchvision.datasets.")


class Loader(data.DataLoader[Any]):
    """A `DataLoader` whose passes are short, and noted by whoever watches."""

    drawing = False  # whether a batch is being put together
    lent = False  # to a file that has no loader of its own
    most = TINY  # images of a batch, once something learns
    watch: Any = None
    """Is told of a new loader (`loader_made`) and asked for what a pass yields (`pass_over`)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take what a `DataLoader` takes."""
        if (made := getattr(args[0] if args else None, "as_dataset", None)) is not None:
            args = (made(), *args[1:])
        super().__init__(*args, **options)
        self.watch.loader_made(self)

    def __iter__(self) -> Any:
        """Begin a pass."""
        return Batches(self.watch.pass_over(self))

    def batches(self, earlier: int, *, shown: bool, many: int) -> Iterator[Any]:
        """Yield the few batches of a pass with so many `earlier` ones; larger ones if `shown`.

        Of a pass whose batches are counted there are at most `many`.
        """
        few = many or (FIRST if earlier < 2 else LATER)
        for turn, indices in enumerate(islice(self._indices(), few)):
            most = self.most + max(0, FIRST - 1 - turn)  # so that what depends on it shows
            Loader.drawing = True
            try:
                batch = self._batch(indices, max(_SHOWN, self.most) if shown else most)
            finally:
                Loader.drawing = False
            yield batch

    def _indices(self) -> Iterator[Any]:
        if isinstance(self.dataset, data.IterableDataset):
            return iter(range(FIRST))
        if self.batch_sampler is not None:
            return iter(self.batch_sampler)
        return iter(self.sampler)

    def _batch(self, indices: Any, most: int) -> Any:
        if isinstance(self.dataset, data.IterableDataset):
            return self.collate_fn(list(islice(iter(self.dataset), most)))
        if self.batch_sampler is None:
            return self.collate_fn(self.dataset[indices])
        items = [self.dataset[index] for index in list(indices)[:most]]
        return self.collate_fn([tree_map(_as_tensor, item) for item in items])


def _as_tensor(value: Any) -> Any:
    """Turn an image that no transform has turned into a tensor."""
    if type(value).__module__.startswith("PIL."):
        pixels = torch.from_numpy(np.array(value)).float() / 255
        return pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1)
    return value


class Batches:
    """The batches of one pass, also by `next()`, as iterators had it in older versions."""

    def __init__(self, batches: Iterator[Any]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        """Yield them."""
        return self._batches

    def __next__(self) -> Any:
        """Return the next one."""
        return next(self._batches)

    next = __next__


def unwrapped(dataset: Any) -> Iterator[Any]:
    """Yield a data set and those it is made of, from the outside in."""
    todo, seen = [dataset], set[int]()
    while todo:
        thing = todo.pop(0)
        if id(thing) in seen or len(seen) > 50:
            continue
        seen.add(id(thing))
        yield thing
        held = [*getattr(thing, "datasets", ()), getattr(thing, "dataset", None)]
        if not isinstance(thing, (data.Subset, Digits)):
            held += list(getattr(thing, "__dict__", {}).values())
        todo += [h for h in held if isinstance(h, data.Dataset)]
