"""The function a submission trains in, and what its parameters are given."""

from __future__ import annotations

from pathlib import Path

from grader.submission.program import Program, Train
from tests.reading import TRAIN, net, script

DATA = """\
train_set = datasets.MNIST('data', train=True, download=True, transform=transforms.ToTensor())
train_loader = torch.utils.data.DataLoader(train_set, batch_size=64, shuffle=True)
test_set = datasets.MNIST('data', train=False, transform=transforms.ToTensor())
test_loader = torch.utils.data.DataLoader(test_set, batch_size=64)
"""
MAKE = "model = Net()\noptimizer = optim.SGD(model.parameters(), lr=0.05)\n"
CALL = "for epoch in range(1, 3):\n    train(model, 'cpu', train_loader, optimizer, epoch)\n"


def training(program: Program) -> Train:
    """Return the training of a program that must have one."""
    assert program.train is not None, program.notes
    return program.train


def given(train: Train) -> dict[str, str]:
    """Return what each parameter is given: a role, or an expression."""
    return train.roles | {name: part.source for name, part in train.arguments.items()}


def runs(train: Train) -> str:
    """Join all that runs when the modules of a training are loaded."""
    return "\n".join(s.source for module in train.modules for s in module.statements)


def test_the_usual_function_is_given_what_its_names_say(tmp_path: Path) -> None:
    """Model, device, loader and optimiser go by name; the pass goes by the file's own loop."""
    train = training(script(tmp_path, net(), TRAIN, DATA, MAKE, CALL))
    assert given(train) == {
        "model": "model", "device": "device", "train_loader": "train_loader",
        "optimizer": "optimizer", "epoch": "epoch",
    }  # fmt: skip
    assert train.first_epoch == 1
    assert train.arguments["epoch"].bindings == {"epoch": "epoch"}


def test_what_only_the_training_needs_is_not_in_the_program(tmp_path: Path) -> None:
    """A statement for the training alone cannot break the model: it is kept apart."""
    body = TRAIN.replace("        loss.back", "        losses.append(1)\n        loss.back")
    program = script(tmp_path, net(), "losses = []", body, DATA, MAKE, CALL)
    assert "losses" in runs(training(program))
    assert all("losses" not in s.source for m in program.modules for s in m.statements)


def test_arguments_come_from_the_call(tmp_path: Path) -> None:
    """What no name explains is what the last call passes; the rest keeps its default."""
    body = TRAIN.replace("epoch):", "e, l1=0.0, clip=None):")
    call = CALL.replace("optimizer, epoch", "optimizer, epoch - 1, l1=FACTOR")
    train = training(script(tmp_path, net(), body, "FACTOR = 1e-4", DATA, MAKE, call))
    assert given(train)["l1"] == "FACTOR"
    assert given(train)["e"] == "epoch - 1"
    assert "clip" not in given(train)


def test_names_of_the_file_that_the_function_reads_are_handed_over(tmp_path: Path) -> None:
    """A function that uses the file's own model and loader gets ours in their place."""
    body = TRAIN.replace("model, device, train_loader, optimizer, epoch", "epoch, device='cpu'")
    call = "for epoch in range(3):\n    train(epoch)\n"
    train = training(script(tmp_path, net(), DATA, MAKE, body, call))
    assert train.function.bindings == {
        "model": "model", "train_loader": "train_loader", "optimizer": "optimizer"
    }  # fmt: skip
    assert "DataLoader" not in runs(train)
    assert train.first_epoch == 0


def test_a_second_optimizer_is_made_by_the_file(tmp_path: Path) -> None:
    """Only the optimiser of the recipe is handed over; another is the file's own."""
    body = TRAIN.replace("optimizer, epoch):", "optimizer, other):")
    make = MAKE.replace("optimizer =", "other = optim.Adam(model.out.parameters())\noptimizer =")
    call = CALL.replace("optimizer, epoch)", "optimizer, other)")
    train = training(script(tmp_path, net(), body, DATA, make, call))
    part = train.arguments["other"]
    assert part.bindings == {"model": "model"}
    assert "optim.Adam" in part.setup[0].source


def test_the_function_that_loops_is_taken(tmp_path: Path) -> None:
    """Of functions that call each other the one that goes over the batches is called."""
    step = "def step(model, x, y, optimizer):\n    F.nll_loss(model(x), y).backward()\n"
    step += "    optimizer.step()\n"
    fit = "def fit(net, loader, opt):\n    for x, y in loader:\n        step(net, x, y, opt)\n"
    run = "def run(epochs):\n    for _ in range(epochs):\n"
    run += "        fit(model, train_loader, optimizer)\n"
    train = training(script(tmp_path, net(), step, fit, DATA, MAKE, run, "run(5)"))
    assert train.function.source == "fit"
    assert given(train) == {"net": "model", "loader": "train_loader", "opt": "optimizer"}


def test_a_loop_at_the_top_is_no_function(tmp_path: Path) -> None:
    """A training that stands in the open cannot be called, and needs no note."""
    lines = "for epoch in range(3):\n    for x, y in train_loader:\n        optimizer.zero_grad()\n"
    lines += "        F.nll_loss(model(x), y).backward()\n        optimizer.step()\n"
    program = script(tmp_path, net(), DATA, MAKE, lines)
    assert program.train is None
    assert program.notes == []


def test_a_parameter_that_nobody_explains_is_named(tmp_path: Path) -> None:
    """Where a parameter has no value the training is not called, and the note says which."""
    body = TRAIN.replace("epoch):", "alpha):")
    program = script(tmp_path, net(), "MODEL = Net()", body)
    assert program.train is None
    assert "`alpha`" in program.notes[0]


def test_a_train_for_the_grader_needs_no_call(tmp_path: Path) -> None:
    """In a file that says MODEL, a function `train` is the training, in one call if it counts."""
    body = TRAIN.replace("epoch):", "epochs=3, lam=0.1):")
    train = training(script(tmp_path, net(), "MODEL = Net()", body))
    assert train.function.source == "train"
    assert given(train)["epochs"] == "epochs"
    assert "lam" not in given(train)


def test_a_function_that_loads_its_own_data_is_not_called(tmp_path: Path) -> None:
    """Without images of its own there is nothing it could do; its recipe is taken as ever."""
    lines = [*DATA.splitlines(), *MAKE.splitlines(), "for x, y in train_loader:"]
    main = "def main():\n" + "".join(f"    {line}\n" for line in lines)
    main += "        F.nll_loss(model(x), y).backward()\n        optimizer.step()\n"
    program = script(tmp_path, net(), main, "main()")
    assert program.train is None
    assert program.notes == []
    assert "optimizer" in program.recipe


def test_a_name_used_twice_is_the_function_where_it_is_called(tmp_path: Path) -> None:
    """A dataset that goes by the name of the function is not handed over for it."""
    data = DATA.replace("train_set", "train")
    train = training(script(tmp_path, net(), data, TRAIN, MAKE, CALL))
    assert train.function.bindings == {}
    assert "def train" in runs(train)
