"""Which model counts: said, trained, or the only one there is; and refusals that list them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from grader.errors import SubmissionError, UsageFault
from grader.plan.schema import Description
from grader.submission import read_program
from tests.describing import described_here
from tests.reading import (
    HEAD,
    TRAIN,
    found,
    net,
    notebook,
    parameters,
    refusal,
    script,
    write,
)  # fmt: skip

MANY = net("Net1") + net("Net2") + net("Net3")
DATA = """\
train_set = datasets.MNIST('data', train=True, download=True, transform=transforms.ToTensor())
train_loader = torch.utils.data.DataLoader(train_set, batch_size=64, shuffle=True)
"""
LOOP = """\
optimizer = optim.SGD(model.parameters(), lr=0.1)
for epoch in range(2):
    train(model, 'cpu', train_loader, optimizer, epoch)
"""
SGD = "optimizer = optim.SGD(model.parameters(), lr=0.1)\n"
FIT = (
    "def fit(model):\n    optimizer = optim.SGD(model.parameters(), lr=0.1)\n"
    "    train(model, 'cpu', train_loader, optimizer, 1)\n"
)


def watched(folder: Path, *parts: str) -> Description:
    """Describe a script with a function that trains, and a loader."""
    return described_here(script(folder, DATA, TRAIN, *parts))


@pytest.mark.parametrize(
    ("tail", "name", "count"),
    [
        ("MODEL = Net2", "Net2", 210),
        ("MODEL = Net2(3)", "Net2", 70),
        ("def build_model(width=4):\n    return Net3(width)", "Net3", 90),
        ("model = Net1(2)\n" + SGD + "MODEL = Net2", "Net2", 210),
        ("MODEL = 'cnn'\nmodel = Net1(2)\n" + SGD, "Net1", 50),
        ("MODEL = None\nmodel = Net1(2)\n" + SGD, "Net1", 50),
    ],
)
def test_the_file_may_say_it(tmp_path: Path, tail: str, name: str, count: int) -> None:
    """`MODEL` and `build_model` come before anything else."""
    program = script(tmp_path, MANY, tail)
    assert found(program).class_name == name
    assert parameters(program) == count


def test_a_factory_that_needs_arguments_says_nothing(tmp_path: Path) -> None:
    """A `build_model` with a required parameter is the student's own."""
    program = script(tmp_path, net(), "def build_model(config):\n    return None")
    assert found(program).class_name == "Net"


@pytest.mark.parametrize(
    ("tail", "name"),
    [
        ("model = Net2()\n" + LOOP, "Net2"),
        ("a = Net1()\nmodel = Net3()\n" + LOOP + "b = Net2()", "Net3"),
        ("model = Net1()\n" + LOOP + "model = Net2()\n" + LOOP, "Net2"),
        ("model = Net2()\n" + SGD, "Net2"),
        ("model = Net2()\nps = [{'params': model.parameters()}]\n"
         + LOOP.replace("model.parameters()", "ps"), "Net2"),
        ("model = Net2()\nparams = filter(lambda p: p.requires_grad, model.parameters())\n"
         + LOOP.replace("model.parameters()", "params"), "Net2"),
        ("def get(which=Net3):\n    m = Net3()\n    return m\nmodel = get()\n" + LOOP, "Net3"),
        ("Net = Net2\nmodel = Net()\n" + LOOP, "Net2"),
        ("NETS = {'a': Net1, 'b': Net2}\nmodel = NETS['b']()\n" + LOOP, "Net2"),
        ("model = globals()['Net' + str(3)]()\n" + LOOP, "Net3"),
    ],
)  # fmt: skip
def test_the_trained_model_counts(tmp_path: Path, tail: str, name: str) -> None:
    """The instance that an optimiser is stepped for, the last one."""
    assert watched(tmp_path, MANY, tail).model.class_name == name


def test_training_inside_functions_is_followed(tmp_path: Path) -> None:
    """Arguments go through functions, their callers, defaults and argparse."""
    main = (
        "def main(scale=2):\n    parser = argparse.ArgumentParser()\n"
        "    parser.add_argument('--width', type=int, default=4)\n"
        "    args = parser.parse_args()\n    print(args)\n"
        "    net = Net2(width=args.width * scale).to('cpu')\n    fit(net)\n"
        "if __name__ == '__main__':\n    main()\n"
    )
    program = script(tmp_path, "import argparse", DATA, TRAIN, MANY, FIT, main)
    assert found(program).class_name == "Net2"
    assert parameters(program) == 170


@pytest.mark.parametrize(
    "tail",
    [
        "for width in (2, 3):\n    fit(Net(width))",
        "def run(width):\n    fit(Net(width))\nrun(2)\nrun(3)",
        "def run(width):\n    fit(Net(width))\nfor c in [(2,), (3,)]:\n    run(*c)",
        "a = Net(2)\nfit(a)\nb = Net(3)\nfit(b)",
        "nets = [Net(2), Net(3)]\nfor each in nets:\n    fit(each)",
    ],
    ids=["loop", "calls", "bundle", "side by side", "list"],
)
def test_sweeps_are_ambiguous(tmp_path: Path, tail: str) -> None:
    """One class trained with several arguments is not guessed at."""
    with pytest.raises(SubmissionError, match="2 versions") as caught:
        watched(tmp_path, net(), FIT, tail)
    assert "50 parameters" in caught.value.message
    assert "70 parameters" in caught.value.message
    assert "MODEL = Net" in caught.value.help


@pytest.mark.parametrize(
    "tail",
    [
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('width', type=int)\n"
        "model = Net(p.parse_args().width)\n" + LOOP,
        "import sys\nmodel = Net(int(sys.argv[1]))\n" + LOOP,
    ],
    ids=["argparse", "argv"],
)
def test_what_only_a_command_line_knows_is_refused(tmp_path: Path, tail: str) -> None:
    """A width that nothing in the file gives is not guessed at."""
    with pytest.raises(SubmissionError) as caught:
        watched(tmp_path, net(), tail)
    assert caught.value.where.startswith("work.py, line")


def test_versions_by_what_they_compute(tmp_path: Path) -> None:
    """Networks of the same layers are several where they compute something else by a setting."""
    own = net().replace("width=10", "width=10, squashed=False, fold=0")
    kept = "        self.squashed, self.fold = squashed, fold\n"
    own = own.replace("        self.conv", f"{kept}        self.conv", 1)
    own = own.replace("self.conv(x)", "self.act(self.conv(x))") + (
        "    def act(self, x):\n        return x.tanh() if self.squashed else F.relu(x)\n"
    )
    folds = "for fold in range(3):\n    fit(Net(2, False, fold))"
    assert watched(tmp_path, own, FIT, folds).model.class_name == "Net"
    with pytest.raises(SubmissionError, match="2 versions") as caught:
        watched(tmp_path, own, FIT, "fit(Net(2, True))\nfit(Net(2, False))")
    assert "squashed=True" in caught.value.message
    assert "squashed=False" in caught.value.message


def test_layers_that_were_chosen_from_are_no_model(tmp_path: Path) -> None:
    """What holds but a part of what is trained, and is part of no network, is not the network."""
    own = net().replace(
        "        self.conv",
        "        chosen = nn.ModuleDict({'norm': nn.BatchNorm2d(1), 'none': nn.Identity()})\n"
        "        self.norm = chosen['norm' if width > 1 else 'none']\n        self.conv", 1,
    ).replace("self.conv(x)", "self.conv(self.norm(x))")  # fmt: skip
    assert watched(tmp_path, own, FIT, "fit(Net(2))").model.class_name == "Net"
    with pytest.raises(SubmissionError, match="2 versions"):
        watched(tmp_path, own, FIT, "nets = [Net(2), Net(1)]\nfor each in nets:\n    fit(each)")


def test_the_same_network_trained_again_is_one(tmp_path: Path) -> None:
    """Seeds, folds and restarts of one network are no sweep."""
    assert watched(tmp_path, net(), FIT, "for seed in range(3):\n    fit(Net(2))").model


def test_a_line_that_says_it_decides_a_sweep(tmp_path: Path) -> None:
    """`MODEL = …` settles which of several versions counts, with the training it had."""
    tail = "for width in (2, 3):\n    fit(Net(width))\nMODEL = Net(2)"
    program = script(tmp_path, DATA, TRAIN, net(), FIT, tail)
    assert parameters(program) == 50


def test_parts_of_models_are_no_candidates(tmp_path: Path) -> None:
    """A class that another model uses is not the model."""
    part = net("Part").replace(".mean((2, 3)), dim=1", "")
    whole = net("Whole").replace("nn.Conv2d(1, width, 3)", "nn.Sequential(Part(), nn.ReLU())")
    assert found(script(tmp_path, part.replace("F.log_softmax", ""), whole)).class_name == "Whole"


def test_one_of_several_is_made(tmp_path: Path) -> None:
    """Of several models the only one that is instantiated counts, with its arguments."""
    program = script(tmp_path, MANY, "print(Net2(width=6))")
    assert found(program).class_name == "Net2"
    assert parameters(program) == 130


@pytest.mark.parametrize("name", ["Net", "Model"])
def test_a_telling_name_decides(tmp_path: Path, name: str) -> None:
    """Without training or instances a class called Net or Model counts."""
    assert found(script(tmp_path, net("First"), net(name), net("Last"))).class_name == name


def test_several_models_are_listed(tmp_path: Path) -> None:
    """A refusal names every candidate, and the line that decides."""
    error = refusal(notebook(tmp_path, HEAD, net("A"), net("B")))
    assert "A, B" in error.message
    assert "`MODEL = B()`" in error.help


@pytest.mark.parametrize(("name", "count"), [("A", 210), ("B", 70), ("chosen", 70)])
def test_the_option_decides(tmp_path: Path, name: str, count: int) -> None:
    """`--model` takes a class, with the arguments it is made with, or a variable."""
    cells = [HEAD, net("A"), net("B") + "b = B(2)\nchosen = nn.Sequential(B(3))"]
    program = read_program(notebook(tmp_path, *cells), model=name)
    assert parameters(program) == count


def test_an_option_that_names_nothing_is_refused(tmp_path: Path) -> None:
    """A wrong `--model` is wrong usage."""
    with pytest.raises(UsageFault, match="no model called C"):
        found(read_program(notebook(tmp_path, HEAD, net("A")), model="C"))


@pytest.mark.parametrize("tail", ["", LOOP], ids=["made", "trained"])
def test_a_lone_sequential_is_a_model(tmp_path: Path, tail: str) -> None:
    """A model needs no class of its own."""
    made = "model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.LogSoftmax(1))\n"
    program = script(tmp_path, DATA, TRAIN, made + tail)
    assert found(program).class_name == "Sequential"
    assert parameters(program) == 7850


def test_a_class_called_like_a_dataset(tmp_path: Path) -> None:
    """A model called MNIST is not torchvision's data set."""
    program = script(tmp_path, DATA, TRAIN, net("MNIST"), "model = MNIST(5)\n" + LOOP)
    assert found(program).class_name == "MNIST"
    assert parameters(program) == 110


@pytest.mark.parametrize(
    ("line", "name"),
    [("model = Net()", "Net"), ("from models.resnet import *\nmodel = Net()", "Net"),
     ("from models.resnet import Net\nmodel = Net()", "models")],
)  # fmt: skip
def test_a_model_that_nobody_defines_is_named(tmp_path: Path, line: str, name: str) -> None:
    """A class that is trained and defined nowhere is named with its place."""
    error = refusal(write(tmp_path, "work.py", HEAD + line + "\n" + SGD))
    assert re.search(rf"\b{name}\b", error.message)
    assert error.where.startswith("work.py")


def test_plots_and_downloads_do_not_stop_a_file(tmp_path: Path) -> None:
    """What fails ends alone, and the network that is trained is found all the same."""
    seen = watched(
        tmp_path, "from google.colab import drive\ndrive.mount('/content/drive')", net(),
        "import matplotlib.pyplot as plt\nimport pandas as pd\nplt.plot([1, 2])\nplt.show()",
        "table = pd.read_csv('/content/missing.csv')", "model = Net(3)", LOOP,
        "plt.figure(figsize=(3, 4)).add_subplot(1, 1, 1).imshow(model.conv.weight[0])",
        "fig, axes = plt.subplots(2, 3)\naxes[0, 1].plot([1])\nprint(input('name'))",
    )  # fmt: skip
    assert seen.model.class_name == "Net"
    assert seen.epochs == 2


def test_constants_helpers_and_bases_come_along(tmp_path: Path) -> None:
    """Names used in methods are found, over several steps."""
    program = script(
        tmp_path, "WIDTH = 4\ndef block(i, o):\n    return nn.Sequential(conv(i, o), nn.ReLU())",
        "conv = lambda i, o: nn.Conv2d(i, o, KERNEL)\nKERNEL = 3",
        "class Base(nn.Module):\n    pass",
        "class Net(Base):\n    def __init__(self):\n        super().__init__()\n"
        "        self.a = block(1, WIDTH)\n        self.b = block(WIDTH, 10)\n"
        "    def forward(self, x):\n        return self.b(self.a(x)).mean((2, 3))",
    )  # fmt: skip
    assert parameters(program) == 40 + 370


def test_lists_built_step_by_step(tmp_path: Path) -> None:
    """A network built up by statements and loops is the one that is trained."""
    seen = script(
        tmp_path, DATA, TRAIN, "layers = []\nlayers.append(nn.Conv2d(1, 2, 3))",
        "for i in range(2):\n    print(i)\n    layers += [nn.Conv2d(2, 2, 1)]",
        "options = {}\noptions['bias'] = False\nlayers.append(nn.Conv2d(2, 10, 1, **options))",
        "layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]",
        "model = nn.Sequential(*layers)\n" + LOOP,
    )  # fmt: skip
    assert parameters(seen) == 20 + 2 * 6 + 20


@pytest.mark.parametrize(
    ("tail", "count"),
    [
        ("try:\n    import fancy_norm\n    WIDTH = 3\nexcept ImportError:\n    WIDTH = 4", 90),
        ("if torch.cuda.is_available():\n    WIDTH = 4\nelse:\n    WIDTH = 2", 90),
        ("WIDTH = 3\nif WIDTH > 2:\n    print('wide')\n    WIDTH = 5", 110),
    ],
)
def test_conditions_are_decided_by_running(tmp_path: Path, tail: str, count: int) -> None:
    """A guarded import, a GPU and a constant decide as they do where the file was written."""
    assert parameters(script(tmp_path, tail, net().replace("width=10", "width=WIDTH"))) == count


def test_names_in_methods_have_the_value_at_the_use(tmp_path: Path) -> None:
    """A default is that of the definition; what a method reads is looked up when it runs."""
    early = script(
        tmp_path, "W = 3", net().replace("width=10", "width=W"), "W = 7", "model = Net()\nW = 9"
    )
    assert parameters(early) == 70
    late = net().replace("width=10", "").replace("width", "W")
    assert parameters(script(tmp_path, "W = 3", late, "W = 7", "model = Net()\nW = 9")) == 150


def test_redefined_classes_keep_their_super(tmp_path: Path) -> None:
    """A class may be derived from an earlier one of its own name."""
    again = "class Net(Net):\n    def __init__(self):\n        super().__init__(5)"
    once = net().replace("super(Net, self).__init__()", "super().__init__()")
    assert parameters(script(tmp_path, once, again, "m = Net()")) == 110


def test_cells_run_out_of_order(tmp_path: Path) -> None:
    """Execution counts say which definition was the last when the model was made."""
    cells = [
        HEAD, "WIDTH = 2", "WIDTH = 6", net().replace("width=10", "width=WIDTH"), "model = Net()",
    ]  # fmt: skip
    assert parameters(read_program(notebook(tmp_path, *cells))) == 130
    shuffled = notebook(tmp_path, *cells, counts=[1, 3, 2, 4, 5])
    assert parameters(read_program(shuffled)) == 50


def test_a_count_of_zero_is_no_count(tmp_path: Path) -> None:
    """Colab writes 0 where it does not know: such cells stay where they stand."""
    cells = [HEAD, net(), "WIDTH = 4", "model = Net(WIDTH)"]
    assert parameters(read_program(notebook(tmp_path, *cells, counts=[0, 0, 7, 0]))) == 90


def test_a_cell_that_never_ran_does_not_count(tmp_path: Path) -> None:
    """A redefinition in a cell without an execution count is no redefinition."""
    cells = [HEAD, net(), net().replace("width=10", "width=4"), "model = Net()"]
    program = read_program(notebook(tmp_path, *cells, counts=[1, 2, None, 3]))
    assert parameters(program) == 210
    assert "its cell was never run" in {a.why for a in program.set_aside}


def test_a_width_that_the_data_gives(tmp_path: Path) -> None:
    """Constructor arguments may come from the data set."""
    seen = script(tmp_path, DATA, TRAIN, net(), "model = Net(len(train_set.classes))\n" + LOOP)
    assert parameters(seen) == 210


def test_in_place_changes_of_the_model_are_kept(tmp_path: Path) -> None:
    """A layer replaced after the model was made is part of the model."""
    program = script(
        tmp_path, DATA, TRAIN, net(), "model = Net()\nmodel.train()",
        "model.out = nn.Conv2d(10, 10, 1, bias=False)", LOOP,
    )  # fmt: skip
    assert parameters(program) == 200


@pytest.mark.parametrize(
    "wrap", ["nn.DataParallel({})", "torch.compile({})", "{}.to('cuda')", "torch.jit.script({})"]
)
def test_wrapped_models_are_found(tmp_path: Path, wrap: str) -> None:
    """Wrapping and moving a model do not hide it."""
    made = f"net = Net(3)\nmodel = {wrap.format('net')}\n"
    program = script(tmp_path, DATA, TRAIN, net(), net("Other"), made + LOOP)
    assert found(program).class_name == "Net"
    assert parameters(program) == 70


@pytest.mark.parametrize(
    ("block", "count"),
    [
        ("if USE:\n    model = Net(2)\nelse:\n    model = Net(3)", 50),
        ("if not USE:\n    model = Net(2)\nelse:\n    model = Net(3)", 70),
        ("try:\n    model = Net(2)\nexcept ValueError:\n    model = Other()", 50),
        ("model, epochs = Net(4), 5", 90),
        ("def setup():\n    global model\n    model = Net(4)\nsetup()", 90),
    ],
)
def test_models_made_in_blocks(tmp_path: Path, block: str, count: int) -> None:
    """A block that makes the model is run, so that its condition decides."""
    program = script(tmp_path, DATA, TRAIN, net(), net("Other"), "USE = True", block, LOOP)
    assert found(program).class_name == "Net"
    assert parameters(program) == count


def test_a_thousand_cells(tmp_path: Path) -> None:
    """A notebook of a thousand cells is run like any other."""
    filler = [f"x{i} = {i}\ny{i} = x{max(i - 1, 0)} + 1\nprint(x{i})" for i in range(1000)]
    assert parameters(read_program(notebook(tmp_path, HEAD, *filler, net(), "m = Net()"))) == 210


def test_weights_are_those_of_the_start(tmp_path: Path) -> None:
    """What made-up images taught is forgotten: each tensor keeps how it was initialised."""
    plain = described_here(script(tmp_path, net(), "model = Net()"))
    taught = watched(tmp_path, net(), "model = Net()", LOOP)
    assert [t.init for t in taught.model.tensors] == [t.init for t in plain.model.tensors]


@pytest.mark.parametrize("clip", ["", "nn.utils.clip_grad_norm_(model.parameters(), 1)"])
def test_a_copy_that_is_trained_counts(tmp_path: Path, clip: str) -> None:
    """`copy.deepcopy` makes a network as its class does."""
    step = TRAIN.replace("        optimizer.step", f"        {clip}\n        optimizer.step")
    made = "import copy\nbase = Net(3)\nmodel = copy.deepcopy(base)"
    seen = watched(tmp_path, net(), step, made, LOOP)
    assert (seen.epochs, seen.level) == (2, "sandboxed" if clip else "rebuilt")
    assert seen.optimizer is not None
    assert seen.optimizer.groups[0].parameters[:1] == ["conv.weight"]
