"""Options that a file takes from its command line, where none is given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from grader.errors import SubmissionError
from grader.submission import read_program
from tests.describing import described_here
from tests.reading import HEAD, TRAIN, net, script, write
from tests.watching import DATA, LOOP, TEST

OPTIONS = {
    "argparse": (
        "p = argparse.ArgumentParser()\np.add_argument('data')\n"
        "p.add_argument('--out', type=str, required=True)\n"
        "p.add_argument('--set', choices=['cifar', 'mnist'], required=True)\n"
        "p.add_argument('--num-epochs', type=int, required=True)\nargs = p.parse_args()\n"
        "os.makedirs(os.path.join(args.out, 'x'), exist_ok=True)\n"
        "assert args.set == 'mnist'\nEPOCHS = args.num_epochs\n",
        ["num_epochs` of the command line has no default: 12 was", "data`", "out`", "set`"],
    ),
    "argv": (
        "try:\n    EPOCHS = int(sys.argv[2])\nexcept IndexError:\n    EPOCHS = 12\n"
        "args = argparse.Namespace(data=sys.argv[1])\nprint(sys.argv[1] + '/MNIST')\n",
        ["argv1` of the command line has no default: 'argv1' was put there"],
    ),
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_options_without_a_default(tmp_path: Path, kind: str) -> None:
    """The file is run with something in their places, and each of them is told."""
    head, told = OPTIONS[kind]
    data = DATA.replace("'data'", "args.data")
    found = described_here(script(
        tmp_path, "import argparse, os, sys", net(), TRAIN + TEST, head, "SIZE = 64", data, LOOP,
    ))  # fmt: skip
    assert (found.epochs, found.batch_size) == (12, 64)
    assert [note for note in told if note not in " ".join(found.notes)] == []
    assert len(found.notes) == len(told)


@pytest.mark.parametrize("group", [False, True])
def test_commands_of_click(tmp_path: Path, group: bool) -> None:
    """A function under click's options is called with them, or with what stands for them."""
    body = DATA.replace("SIZE", "batch_size") + LOOP.replace("EPOCHS", "epochs")
    main = (
        "@{0}.command()\n@click.option('--epochs', '-e', default=5)\n"
        "@click.option('--batch-size', 'batch_size', type=int, required=True)\n"
        "@click.option('--cuda/--no-cuda', default=True)\n"
        "@click.option('--set', type=click.Choice(['MNIST', 'CIFAR10']), default='MNIST')\n"
        "@click.argument('folder')\ndef train_it(folder, set, cuda, batch_size, epochs):\n"
        + "".join(f"    {x}\n" for x in body.splitlines())
    ).format("cli" if group else "click")
    head = "@click.group()\ndef cli():\n    pass\n" if group else ""
    found = described_here(script(
        tmp_path, "import click", net(), TRAIN + TEST, head, main,
        "cli()" if group else "train_it()",
    ))  # fmt: skip
    assert (found.epochs, found.batch_size) == (5, 128)
    assert [note.split()[0] for note in found.notes] == ["`batch_size`", "`folder`"]


@pytest.mark.parametrize(("more", "told"), [("", None), (", 'old'", "no value (net, old)")])
def test_a_network_by_an_option_without_a_default(
    tmp_path: Path, more: str, told: str | None
) -> None:
    """The only network that can be chosen is it; of several none is guessed at, all are told."""
    head = "p = argparse.ArgumentParser()\n"
    head += f"p.add_argument('--model', required=True, choices=['net'{more}])\n"
    chosen = LOOP.replace("Net()", "{'net': Net, 'old': Old}[p.parse_args().model]()")
    program = script(
        tmp_path, "import argparse", net(), net("Old"), TRAIN + TEST, head,
        "SIZE, EPOCHS = 64, 3", DATA, chosen,
    )  # fmt: skip
    if told is None:
        assert described_here(program).model.class_name == "Net"
        return
    with pytest.raises(SubmissionError, match=re.escape(told)):
        described_here(program)


@pytest.mark.parametrize("count", [1, 2])
def test_settings_by_an_option_without_a_default(tmp_path: Path, count: int) -> None:
    """The only file of settings is read; of several none is guessed at, and all are told."""
    for number in range(1, count + 1):
        write(tmp_path, f"runs/{number}.yaml", f"width: {number}\nepochs: 4\n")
    write(tmp_path, "train.py", HEAD + net() + TRAIN + TEST + """\
import argparse, pathlib, yaml
p = argparse.ArgumentParser()
p.add_argument('--config', type=str, required=True)
p.add_argument('--set', action='append', default=[])
path = pathlib.Path(p.parse_args().config)
said = {'width': 9, 'epochs': 9} | (yaml.safe_load(path.read_text()) if path.exists() else {})
SIZE, EPOCHS = 64, said['epochs']
""" + DATA + LOOP.replace("Net()", "Net(said['width'])"))  # fmt: skip
    program = read_program(tmp_path)
    if count == 1:
        found = described_here(program)
        assert (found.epochs, found.model.tensors[0].shape[0]) == (4, 1)
        return
    with pytest.raises(SubmissionError, match=re.escape("runs/1.yaml, runs/2.yaml")):
        described_here(program)


TYPER = """\
app = typer.Typer()
@app.command()
def evaluate(checkpoint: str): raise ValueError(checkpoint)
@app.command()
def train_it(epochs: int, lr: float = 0.3, size: Annotated[int, typer.Option("--bs")] = 40):
"""


def test_commands_of_typer(tmp_path: Path) -> None:
    """Of several commands the one that trains is called, with its defaults."""
    body = DATA.replace("SIZE", "size") + LOOP.replace("EPOCHS", "epochs").replace("0.05", "lr")
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    head = "import typer\nfrom typing import Annotated"
    found = described_here(script(tmp_path, head, net(), TRAIN + TEST, TYPER + lines, "app()"))
    assert found.optimizer is not None
    assert (found.epochs, found.batch_size) == (12, 40)
    assert found.optimizer.groups[0].options["lr"] == 0.3
    assert found.notes == ["`epochs` of the command line has no default: 12 was put there"]


def test_commands_that_are_added_to_a_group(tmp_path: Path) -> None:
    """A group knows its commands however they came to it, and their options their context."""
    lines = "".join(f"    {x}\n" for x in (DATA + LOOP.replace("EPOCHS", "epochs")).splitlines())
    main = (
        "@click.group(invoke_without_command=True)\n@click.pass_context\n"
        "def cli(context):\n    context.ensure_object(dict)\n"
        "@click.command()\n@click.option('--epochs', type=click.IntRange(1), required=True)\n"
        f"@click.pass_obj\ndef training(made, epochs):\n{lines}"
        "cli.add_command(training)\n"
    )
    found = described_here(script(
        tmp_path, "import click\nSIZE = 64", net(), TRAIN + TEST, main, "cli()"
    ))  # fmt: skip
    assert (found.epochs, found.batch_size) == (12, 64)


def commanded(folder: Path, options: str, **told: str) -> tuple[int | None, int | None]:
    """Return epochs and batch size of a `train.py` with texts beside it that say how it is run."""
    parts = ["import argparse", net(), TRAIN + TEST, "p = argparse.ArgumentParser()", options]
    write(folder, "train.py", "\n".join([HEAD, *parts, DATA, LOOP]))
    for name, text in told.items():
        write(folder, name.replace("_", "."), text)
    found = described_here(read_program(folder))
    return found.epochs, found.batch_size


@pytest.mark.parametrize("told", ["run_sh", "README_md"])
def test_options_that_a_script_gives(tmp_path: Path, told: str) -> None:
    """What a command that was handed in gives for an option without a default is taken."""
    options = (
        "p.add_argument('--epochs', type=int, required=True)\np.add_argument('--size')\n"
        "args = p.parse_args()\nEPOCHS, SIZE = args.epochs, int(args.size)\n"
    )
    text = "Text of --epochs 99.\nn=7\n`python train.py --epochs $n \\\n  --size='32'`\n"
    other = "python other.py --epochs 99\npython pretrain.py --epochs 98\n"
    assert commanded(tmp_path, options, **{told: text}, another_sh=other) == (7, 32)


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [("How many epochs? ", "12"), ("Batch size: ", "128"), ("1: test, 2: train ", "2"),
     ("train (3) or test (4)", "3"), ("", "1")],
)  # fmt: skip
def test_questions_to_a_person(tmp_path: Path, prompt: str, answer: str) -> None:
    """They are answered with what the grader has, what trains, or the first choice, and told."""
    loop = f"assert input({prompt!r}) == '{answer}', 'another'\nSIZE = EPOCHS = 5\n"
    found = described_here(script(tmp_path, net(), TRAIN + TEST, loop, DATA, LOOP))
    assert found.notes == [f"`input({prompt!r})` was answered with {answer}"]


CLICKED = """\
@click.command()
@click.option('--epochs', default=7, prompt=True)
@click.option('--quiet', is_flag=True, required=True)
@click.option('--data', type=click.Path(exists=True), required=True)
@click.option('--kind', required=True)
def training(epochs, quiet, data, kind):
"""


@pytest.mark.parametrize("decided", [False, True])
def test_options_of_click_without_a_default(tmp_path: Path, decided: bool) -> None:
    """A prompt is answered by its default, a path need not be there, and no text decides."""
    body = DATA + LOOP.replace("EPOCHS", "epochs")
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    choice = "    width = 4 if kind == 'small' else 9\n" if decided else ""
    main = CLICKED + choice + lines + "training()\n"
    text = script(tmp_path, "import click\nSIZE = 64", net(), TRAIN + TEST, main)
    if not decided:
        assert described_here(text).epochs == 7
        return
    with pytest.raises(SubmissionError, match="`kind` of the command line has no value"):
        described_here(text)


def test_a_command_for_another_file_gives_nothing(tmp_path: Path) -> None:
    """Only the command that runs the file itself is taken, and no placeholder of a manual."""
    options = (
        "p.add_argument('--epochs', type=int)\np.add_argument('--size')\nargs = p.parse_args()\n"
        "EPOCHS, SIZE = args.epochs or 5, int(args.size or 40)\n"
    )
    text = "python evaluate.py --epochs 9\npython train.py --size <n>\n"
    assert commanded(tmp_path, options, README_md=text) == (5, 40)
