"""What has to run so that a model can be made, and what must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.submission import read_program
from tests.reading import HEAD, TRAIN, net, notebook, parameters, refusal, script, sources


def test_training_plots_and_downloads_are_set_aside(tmp_path: Path) -> None:
    """Only what the model needs is kept, and the rest says why it was not."""
    program = script(
        tmp_path, "from google.colab import drive\ndrive.mount('/content/drive')", net(),
        "data = datasets.MNIST('.', download=True)", "model = Net()", "losses = train(model, data)",
        "plt.plot(losses)", "print(input('name'))",
    )  # fmt: skip
    kept = sources(program)
    assert all(word not in kept for word in ("drive", "MNIST", "losses", "plt", "input"))
    why = {a.text: a.why for a in program.set_aside}
    assert why["losses = train(model, data)"] == "trains, tests, or touches data or files"
    assert why["from google.colab import drive"] == "imports what the model does not need"


def test_constants_helpers_and_bases_come_along(tmp_path: Path) -> None:
    """Names used in methods are found, over several steps."""
    program = script(
        tmp_path, "WIDTH = 4\ndef block(i, o):\n    return nn.Sequential(conv(i, o), nn.ReLU())",
        "conv = lambda i, o: nn.Conv2d(i, o, KERNEL)\nKERNEL = 3\nUNUSED = 5",
        "class Base(nn.Module):\n    pass",
        "class Net(Base):\n    def __init__(self):\n        super().__init__()\n"
        "        self.a = block(1, WIDTH)\n    def forward(self, x):\n        return self.a(x)",
    )  # fmt: skip
    assert parameters(program) == 40
    assert "UNUSED" not in sources(program)


def test_lists_built_step_by_step(tmp_path: Path) -> None:
    """Statements that build up a needed object are kept, loops included."""
    program = script(
        tmp_path, "layers = []\nlayers.append(nn.Conv2d(1, 2, 3))",
        "for i in range(2):\n    print(i)\n    layers += [nn.Conv2d(2, 2, 1)]",
        "options = {}\noptions['bias'] = False\nlayers.append(nn.Conv2d(2, 10, 1, **options))",
        "model = nn.Sequential(*layers)\nopt = optim.SGD(model.parameters(), lr=0.1)",
    )  # fmt: skip
    assert parameters(program) == 20 + 2 * 6 + 20
    assert "print" not in sources(program)


def test_conditions_keep_only_what_is_needed(tmp_path: Path) -> None:
    """Of a conditional block the needed assignments remain, in both branches."""
    program = script(
        tmp_path, "use_bn = True\nif use_bn:\n    print('bn')\n    norm = nn.BatchNorm2d\nelse:\n"
        "    norm = nn.Identity\n    plot()",
        net().replace("self.out =", "self.n = norm(width)\n        self.out ="),
    )  # fmt: skip
    assert parameters(program) == 210 + 20
    assert "plot" not in sources(program)
    assert "print" not in sources(program)


def test_a_guarded_import_keeps_its_meaning(tmp_path: Path) -> None:
    """A package that the file can do without is no placeholder."""
    program = script(
        tmp_path, "try:\n    import fancy_norm\n    WIDTH = 3\nexcept ImportError:\n    WIDTH = 4",
        net().replace("width=10", "width=WIDTH"),
    )  # fmt: skip
    assert parameters(program) == 90
    assert "fancy_norm" not in program.placeholders


def test_missing_packages_become_placeholders(tmp_path: Path) -> None:
    """Packages that only code that never runs would use are announced, not required."""
    helper = "    def show(self):\n        summary(self, (1, 28, 28))\n        plt.show()\n"
    program = script(
        tmp_path, "from torchsummary import summary, other\nimport matplotlib.pyplot as plt, cv2",
        net() + helper,
    )  # fmt: skip
    assert {"torchsummary", "matplotlib", "matplotlib.pyplot"} <= set(program.placeholders)
    assert "cv2" not in program.placeholders
    assert "other" not in sources(program)


def test_later_definitions_count_only_for_what_follows(tmp_path: Path) -> None:
    """A name defined anew means the definition before its use."""
    program = script(
        tmp_path, "W = 3", net().replace("width=10", "width=W"), "W = 7", "model = Net()\nW = 9"
    )
    assert parameters(program) == 70


def test_names_in_methods_have_the_value_at_the_use(tmp_path: Path) -> None:
    """What a method reads is looked up when the model is made."""
    late = net().replace("width=10", "").replace("width", "W")
    program = script(tmp_path, "W = 3", late, "W = 7", "model = Net()\nW = 9")
    assert parameters(program) == 150


def test_redefined_classes_keep_their_super(tmp_path: Path) -> None:
    """`super(Net, self)` works in a class that is derived from an earlier one of its name."""
    again = "class Net(Net):\n    def __init__(self):\n        super(Net, self).__init__(5)"
    once = net().replace("super(Net, self).__init__()", "super().__init__()")
    program = script(tmp_path, once, again.replace("super(Net, self)", "super()"), "m = Net()")
    assert parameters(program) == 110


def test_cells_run_out_of_order(tmp_path: Path) -> None:
    """Execution counts say which definition was the last when the model was made."""
    cells = [
        HEAD,
        "WIDTH = 2",
        "WIDTH = 6",
        net().replace("width=10", "width=WIDTH"),
        "model = Net()",
    ]
    assert parameters(read_program(notebook(tmp_path, *cells))) == 130
    shuffled = notebook(tmp_path, *cells, counts=[1, 3, 2, 4, 5])
    assert parameters(read_program(shuffled)) == 50


def test_a_cell_that_never_ran_does_not_count(tmp_path: Path) -> None:
    """A redefinition in a cell without an execution count is no redefinition."""
    cells = [HEAD, net(), net().replace("width=10", "width=4"), "model = Net()"]
    program = read_program(notebook(tmp_path, *cells, counts=[1, 2, None, 3]))
    assert parameters(program) == 210
    assert "its cell was never run" in {a.why for a in program.set_aside}


def test_a_notebook_run_upwards_is_put_in_order(tmp_path: Path) -> None:
    """Where a name is only bound further down, that statement comes first."""
    cells = ["model = Net()", net().replace("width=10", "width=W"), "W = 4", HEAD]
    assert parameters(read_program(notebook(tmp_path, *cells, counts=[None] * 4))) == 90


def test_a_model_that_needs_data_is_refused(tmp_path: Path) -> None:
    """Constructor arguments that only the data can give are an error with a place."""
    path = notebook(
        tmp_path, HEAD + net(), "data = datasets.MNIST('.', download=True)\nn = len(data.classes)",
        "model = Net(n)\noptimizer = optim.SGD(model.parameters(), lr=1)",
    )  # fmt: skip
    error = refusal(path)
    assert error.where == "work.ipynb, cell 2, line 1"
    assert "`data`" in error.found


def test_in_place_changes_of_the_model_are_kept(tmp_path: Path) -> None:
    """A layer replaced after the model was made is part of the model."""
    program = script(
        tmp_path, net(), "model = Net()\nmodel.train()",
        "model.out = nn.Conv2d(10, 10, 1, bias=False)", TRAIN,
        "optimizer = optim.SGD(model.parameters(), lr=1)",
    )  # fmt: skip
    assert parameters(program) == 200
    assert "model.train()" not in sources(program)


@pytest.mark.parametrize("wrap", ["nn.DataParallel({})", "torch.compile({})", "{}.to('cpu')"])
def test_wrapped_models_are_found(tmp_path: Path, wrap: str) -> None:
    """Wrapping and moving a model do not hide it."""
    program = script(
        tmp_path, net(), net("Other"), f"net = Net(3)\nnet = {wrap.format('net')}",
        "optimizer = optim.SGD(net.parameters(), lr=1)",
    )  # fmt: skip
    assert program.class_name == "Net"
    assert parameters(program) == 70


def test_a_thousand_cells_read_fast_enough_to_count(tmp_path: Path) -> None:
    """A notebook of a thousand cells is sliced to the few that matter."""
    filler = [f"x{i} = {i}\ny{i} = x{max(i - 1, 0)} + 1\nprint(x{i})" for i in range(1000)]
    program = read_program(notebook(tmp_path, HEAD, *filler, net(), "model = Net()"))
    assert len(program.modules[-1].statements) <= 4
    assert len(program.set_aside) == 2_000


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
    tail = "optimizer = optim.SGD(model.parameters(), lr=1)"
    program = script(tmp_path, net(), net("Other"), "USE = True", block, tail)
    assert program.class_name == "Net"
    assert parameters(program) == count
