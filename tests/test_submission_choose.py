"""Which model is taken: said, trained, or the only one; and refusals that list what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.errors import UsageFault
from grader.submission import read_program
from tests.reading import HEAD, TRAIN, net, notebook, parameters, refusal, script, write

MANY = net("Net1") + net("Net2") + net("Net3")
SGD = "optimizer = optim.SGD(model.parameters(), lr=0.1)\n"


@pytest.mark.parametrize(
    ("tail", "name", "count"),
    [
        ("MODEL = Net2", "Net2", 210),
        ("MODEL = Net2(3)", "Net2", 70),
        ("def build_model(width=4):\n    return Net3(width)", "Net3", 90),
        ("model = Net1(2)\n" + SGD + "MODEL = Net2", "Net2", 210),
    ],
)
def test_the_file_may_say_it(tmp_path: Path, tail: str, name: str, count: int) -> None:
    """`MODEL` and `build_model` come before anything else."""
    program = script(tmp_path, MANY, tail)
    model = program.model.source
    assert program.class_name == name
    assert model in ("MODEL", "build_model")
    if model == "MODEL":
        assert parameters(program) == count


def test_a_factory_that_needs_arguments_says_nothing(tmp_path: Path) -> None:
    """A `build_model` with a required parameter is the student's own."""
    program = script(tmp_path, net(), "def build_model(config):\n    return None")
    assert program.class_name == "Net"


@pytest.mark.parametrize(
    ("tail", "name"),
    [
        ("model = Net2()\n" + SGD, "Net2"),
        ("a = Net1()\nmodel = Net3()\n" + SGD + "b = Net2()", "Net3"),
        ("model = Net1()\n" + SGD + "model = Net2()\n" + SGD, "Net2"),
        (TRAIN + "net = Net2()\ntrain(net, 'cpu', loader, None, 1)", "Net2"),
        ("model = Net2()\nps = [{'params': model.parameters()}]\nopt = optim.Adam([{'params': "
         "filter(lambda p: p.requires_grad, model.parameters())}])", "Net2"),
        ("def get(which=Net3):\n    m = Net3()\n    return m\nmodel = get()\n" + SGD, "Net3"),
        ("Net = Net2\nmodel = Net()\n" + SGD, "Net2"),
        ("trainer = Trainer(Net3(), loader)", "Net3"),
    ],
)  # fmt: skip
def test_the_trained_model_counts(tmp_path: Path, tail: str, name: str) -> None:
    """The instance handed to an optimiser or a training function, the last one made."""
    assert script(tmp_path, MANY, tail).class_name == name


def test_training_inside_functions_is_followed(tmp_path: Path) -> None:
    """Arguments are traced through functions, their callers, defaults and argparse."""
    main = (
        "def fit(model, lr):\n    optimizer = optim.SGD(model.parameters(), lr=lr)\n"
        "def main(scale=2):\n    parser = argparse.ArgumentParser()\n"
        "    parser.add_argument('--width', type=int, default=4)\n"
        "    args = parser.parse_args([])\n    print(args)\n"
        "    net = Net2(width=args.width * scale).to('cpu')\n    fit(net, 0.1)\n"
        "if __name__ == '__main__':\n    main()\n"
    )
    program = script(tmp_path, "import argparse", MANY, main)
    assert program.class_name == "Net2"
    assert parameters(program) == 170
    assert all("print" not in s.source for s in program.model.setup)


def test_arguments_come_from_the_call(tmp_path: Path) -> None:
    """A function called once gets what that call passes."""
    run = "def run(width, extra=1):\n    model = Net(width + extra)\n    " + SGD
    program = script(tmp_path, net(), run, "W = 3\nrun(W)")
    assert parameters(program) == 90


@pytest.mark.parametrize(
    "tail",
    [
        "for width in (2, 3):\n    model = Net(width)\n    " + SGD,
        "def run(width):\n    model = Net(width)\n    " + SGD + "run(2)\nrun(3)",
        "def run(width):\n    model = Net(width)\n    " + SGD + "for c in cases:\n    run(*c)",
        "def run(model):\n    " + SGD + "run(Net(2))\nrun(Net(3))",
        "a = Net(2)\noa = optim.SGD(a.parameters(), lr=1)\nb = Net(3)\n"
        "ob = optim.SGD(b.parameters(), lr=1)",
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('width', type=int)\n"
        "model = Net(p.parse_args().width)\n" + SGD,
        "import sys\nmodel = Net(int(sys.argv[1]))\n" + SGD,
    ],
    ids=["loop", "calls", "bundle", "passed", "side by side", "argparse", "argv"],
)
def test_sweeps_are_ambiguous(tmp_path: Path, tail: str) -> None:
    """One class trained with several arguments is not guessed at."""
    error = refusal(write(tmp_path, "work.py", "\n".join([HEAD, net(), tail])))
    assert "MODEL = Net" in error.help


def test_a_model_trained_again_is_the_later_one(tmp_path: Path) -> None:
    """The same name given a new model is a new generation, not a sweep."""
    program = script(tmp_path, net(), "model = Net(2)\n" + SGD + "model = Net(3)\n" + SGD)
    assert parameters(program) == 70


def test_parts_of_models_are_no_candidates(tmp_path: Path) -> None:
    """A class that another model uses is not the model."""
    whole = net("Whole").replace("nn.Conv2d(1, width, 3)", "nn.Sequential(Part(), nn.ReLU())")
    assert script(tmp_path, net("Part"), whole).class_name == "Whole"


def test_one_of_several_is_made(tmp_path: Path) -> None:
    """Of several models the only one that is instantiated counts, with its arguments."""
    program = script(tmp_path, MANY, "print(Net2(width=6))")
    assert program.class_name == "Net2"
    assert parameters(program) == 130


@pytest.mark.parametrize("name", ["Net", "Model"])
def test_a_telling_name_decides(tmp_path: Path, name: str) -> None:
    """Without training or instances a class called Net or Model counts."""
    assert script(tmp_path, net("First"), net(name), net("Last")).class_name == name


def test_several_models_are_listed(tmp_path: Path) -> None:
    """A refusal names every candidate with its place, and the line that decides."""
    error = refusal(notebook(tmp_path, HEAD, net("A"), net("B")))
    assert "A (work.ipynb, cell 2, line 1)" in error.found
    assert "B (work.ipynb, cell 3, line 1)" in error.found
    assert "`MODEL = B()`" in error.help
    assert "--model B" in error.help


@pytest.mark.parametrize(("name", "count"), [("A", 210), ("B", 70), ("chosen", 70)])
def test_the_option_decides(tmp_path: Path, name: str, count: int) -> None:
    """`--model` takes a class, with the arguments it is made with, or a variable."""
    path = notebook(tmp_path, HEAD, net("A"), net("B") + "b = B(2)\nchosen = A(3)")
    path.write_text(path.read_text().replace("chosen = A(3)", "chosen = nn.Sequential(B(3))"))
    assert parameters(read_program(path, model=name)) == count


def test_an_option_that_names_nothing_is_refused(tmp_path: Path) -> None:
    """A wrong `--model` is wrong usage, and lists the names there are."""
    with pytest.raises(UsageFault) as caught:
        read_program(notebook(tmp_path, HEAD, net("A")), model="C")
    assert "A" in caught.value.found


def test_a_lone_sequential_is_a_model(tmp_path: Path) -> None:
    """A model needs no class of its own."""
    program = script(tmp_path, "model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n" + SGD)
    assert program.class_name == "Sequential"
    assert parameters(program) == 7850


def test_a_class_called_like_a_dataset(tmp_path: Path) -> None:
    """A model called MNIST is not torchvision's dataset."""
    program = script(tmp_path, net("MNIST"), "model = MNIST(5)\n" + SGD)
    assert program.class_name == "MNIST"
    assert parameters(program) == 110


def test_a_model_that_nobody_defines_is_named(tmp_path: Path) -> None:
    """A class that is trained and defined nowhere is named with its place."""
    lines = "model = Net()\nopt = optim.SGD(model.parameters())\n"
    error = refusal(write(tmp_path, "work.py", HEAD + lines))

    assert error.message == "`Net`, which the file trains, is defined nowhere"
    assert error.where == "work.py, line 6"


def test_a_star_import_of_what_is_not_there_is_named(tmp_path: Path) -> None:
    """A name that only a missing module can have bound leads to that module."""
    lines = "from models.resnet import *\nmodel = Net()\nopt = optim.SGD(model.parameters())\n"

    assert "`models.resnet`, which is not" in refusal(write(tmp_path, "a.py", HEAD + lines)).message
