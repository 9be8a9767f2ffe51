"""Modules beside a submission: found and run, and never anybody else's."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from grader.errors import UsageFault
from grader.submission import read_program
from grader.submission.program import Program
from tests.reading import HEAD, found, net, notebook, parameters, refusal, write

LOOSE = "import matplotlib.pyplot as plt\nprint('loaded')\nrun_all()\n"
SGD = "\nopt = optim.SGD(model.parameters(), lr=1)\n"


def read(folder: Path, text: str, name: str = "work.py") -> Program:
    """Read a folder of an entry and the files that were written before."""
    write(folder, name, HEAD + text)
    return read_program(folder)


@pytest.mark.parametrize(
    ("file", "text", "module"),
    [
        ("model.py", "from model import Net\nmodel = Net(3)", "model"),
        ("model.py", "from model import *\nmodel = Net(3)", "model"),
        ("model.py", "import model as m\nmodel = m.Net(3)", "model"),
        ("model.py", "from .model import Net as Best\nmodel = Best(3)", "model"),
        ("models/model_6.py", "from models.model_6 import *\nmodel = Net(3)", "models.model_6"),
        ("models/model_6.py", "import models.model_6\nmodel = models.model_6.Net(3)",
         "models.model_6"),
        ("models/model_6.py", "from models import model_6\nmodel = model_6.Net(3)",
         "models.model_6"),
        ("Model_3.py", "import model3\nmodel = model3.Net(3)", "model3"),
        ("test.py", "from test import Net\nmodel = Net(3)", "test"),
        ("model.py", "from work_folder.model import Net\nmodel = Net(3)", "work_folder.model"),
    ],
)  # fmt: skip
def test_every_way_to_import(tmp_path: Path, file: str, text: str, module: str) -> None:
    """Siblings are found however they are imported, whatever else they do when they are."""
    folder = tmp_path / "work_folder"
    write(folder, file, HEAD + LOOSE + net() + net("Other"))
    program = read(folder, text + SGD)
    assert found(program).class_name == "Net"
    assert parameters(program) == 70
    assert module in {m.name for m in program.modules}


def test_an_alias_decides(tmp_path: Path) -> None:
    """`from model import B as Net` means B."""
    write(tmp_path, "model.py", HEAD + net("A") + net("B"))
    program = read(tmp_path, "from model import B as Net\nmodel = Net(2)" + SGD)
    assert found(program).class_name == "B"


def test_siblings_of_siblings(tmp_path: Path) -> None:
    """What a sibling imports from others is followed, through packages and relative imports."""
    write(tmp_path, "models/__init__.py", "from .net import Net\nfrom .gone import Gone\n")
    write(tmp_path, "models/gone.py", HEAD + "class Gone: pass\nplot()\n")
    whole = (
        net().replace("width=10", "width=WIDTH").replace("nn.Conv2d(1, width, 3)", "first(width)")
    )
    write(
        tmp_path,
        "models/net.py",
        HEAD + "from .blocks import first\nfrom ..settings import WIDTH\n" + whole,
    )
    write(tmp_path, "models/blocks.py", HEAD + "def first(w):\n    return nn.Conv2d(1, w, 3)\n")
    write(tmp_path, "settings.py", "WIDTH = 4\nBATCH = 3\n")
    program = read(tmp_path, "from models import Net\nmodel = Net()" + SGD)
    assert parameters(program) == 90
    assert {m.name for m in program.modules} >= {
        "models", "models.net", "models.blocks", "settings", "__submission__",
    }  # fmt: skip


def test_the_main_block_of_a_sibling_does_not_run(tmp_path: Path) -> None:
    """Imported modules are imported: their `__main__` block is not theirs to run."""
    write(tmp_path, "model.py", HEAD + net() + "if __name__ == '__main__':\n    Net = None\n")
    assert parameters(read(tmp_path, "from model import Net\nmodel = Net()" + SGD)) == 210


OTHERS = {
    "model.py": "from model import Net",
    "pack/model.py": "from pack.model import Net",
    "../model.py": "import sys\nsys.path.append('..')\nfrom model import Net",
    "../pack/model.py": "from pack.model import Net",
    "../../model.py": "import sys\nsys.path.insert(0, '../..')\nfrom model import Net",
    "../theirs/model.py": "from ..theirs.model import Net",
    "../theirs/other.py": "import sys\nsys.path.append('../theirs')\nfrom other import Net",
    "../model.ipynb": "%run ../model.ipynb",
    "theirs.py": "%run ./theirs.py",
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("kind", ["py", "ipynb", "folder"])
def test_what_was_not_handed_in_is_not_read(tmp_path: Path, other: str, kind: str) -> None:
    """Nothing beside a single file or above a folder is read, and nothing of it is told."""
    folder = tmp_path / "course" / "mine"
    around = folder.parent if kind == "folder" and not other.startswith("..") else folder
    path = Path(os.path.normpath(around / other))
    path.parent.mkdir(parents=True, exist_ok=True)
    theirs = HEAD + net() + "SECRET_9731 = 5\nmodel = Net(SECRET_9731)\n"
    notebook(tmp_path, theirs).rename(path) if path.suffix == ".ipynb" else path.write_text(theirs)
    text = HEAD + OTHERS[other] + "\nmodel = Net(3)" + SGD
    folder.mkdir(parents=True, exist_ok=True)
    entry = notebook(folder, text) if kind == "ipynb" else write(folder, "work.py", text)
    error = refusal(folder if kind == "folder" else entry)

    assert "9731" not in str(error)
    assert re.search("not handed in|'Net' is not defined|relative import", error.message)
    assert error.where.startswith("work")


def test_a_single_file_is_read_alone_and_its_folder_whole(tmp_path: Path) -> None:
    """What a file lacks is found when the folder is handed in that holds it."""
    write(tmp_path, "helper.py", HEAD + net())
    entry = write(tmp_path, "work.py", HEAD + "from helper import Net\nmodel = Net(3)" + SGD)
    error = refusal(entry)

    assert "helper.Net is used, but 'helper' was not handed in" in error.message
    assert error.where == "work.py, line 7"
    assert parameters(read_program(tmp_path)) == 70


@pytest.mark.parametrize("named", ["..", "/content/drive/My Drive/course/lib", "./lib"])
def test_folders_named_in_sys_path(tmp_path: Path, named: str) -> None:
    """A folder added to `sys.path` is searched, also under another machine's name."""
    where = tmp_path / "nets.py" if named == ".." else tmp_path / "mine" / "lib" / "nets.py"
    write(where.parent, where.name, HEAD + net())
    text = f"import sys\nsys.path.append('{named}')\nfrom nets import Net\nmodel = Net()" + SGD
    write(tmp_path, "mine/work.py", HEAD + text)
    assert parameters(read_program(tmp_path)) == 210


@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_what_cannot_be_shadowed(tmp_path: Path, name: str) -> None:
    """A file called torch.py beside the submission is not read."""
    write(tmp_path, f"{name}.py", "raise SystemExit")
    program = read(tmp_path, f"import {name}\n" + net() + "model = Net()" + SGD)
    assert [m.name for m in program.modules] == ["__submission__"]


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    """A link to a file elsewhere is no sibling."""
    secret = write(tmp_path, "secret.py", HEAD + net())
    folder = tmp_path / "mine"
    entry = write(folder, "work.py", HEAD + "from model import Net\nmodel = Net()" + SGD)
    (folder / "model.py").symlink_to(secret)
    assert "'model' was not handed in" in refusal(entry.parent).message
    write(folder, "work.py", HEAD + net())
    assert "symbolic links are not followed: model.py" in read_program(folder).notes


def test_a_submission_that_is_a_link_is_wrong_usage(tmp_path: Path) -> None:
    """A link to another's work is not followed, whether to a file or a folder."""
    write(tmp_path, "theirs/net.py", HEAD + net())
    for name, target in (("mine.py", "theirs/net.py"), ("mine", "theirs"), ("loop", "loop")):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(UsageFault, match="is a symbolic link"):
            read_program(tmp_path / name)


def test_a_sibling_with_a_syntax_error(tmp_path: Path) -> None:
    """The error names the sibling and its line."""
    write(tmp_path, "model.py", HEAD + "class Net(nn.Module:\n    pass\n")
    write(tmp_path, "work.py", HEAD + "from model import Net\nmodel = Net()" + SGD)
    assert refusal(tmp_path).where.startswith("model.py, line")


def test_a_notebook_run_in_place(tmp_path: Path) -> None:
    """`%run models.ipynb` binds here what the other notebook defines."""
    notebook(tmp_path, HEAD, LOOSE, net()).rename(tmp_path / "my-models.ipynb")
    notebook(tmp_path, HEAD, "%run ./my-models.ipynb", "model = Net(3)" + SGD)
    assert parameters(read_program(tmp_path)) == 70


def test_a_class_of_a_sibling_that_nobody_makes(tmp_path: Path) -> None:
    """A file that only imports the module of the only model there is has that model."""
    write(tmp_path, "Model.py", HEAD + net())
    write(tmp_path, "utils.py", "import Model\nprint(Model.torch)\n")
    program = read_program(tmp_path)

    assert found(program).class_name == "Net"
    assert found(program).where == "Model.py, line 6"
    assert parameters(program) == 210
