"""The allow-list against the PyTorch that is installed."""

import operator

import pytest
import torch

from grader.plan.operations import ATEN, OPERATOR, is_allowed


def test_every_listed_name_exists() -> None:
    """No entry is a misspelling: each is a function of ATen, or of Python's operator module."""
    known = {name.split("::")[1].split(".")[0] for name in all_operators()}
    assert ATEN - known == set()
    assert all(hasattr(operator, name) for name in OPERATOR)


def all_operators() -> list[str]:
    """List the registered ATen operators as `aten::name.overload`."""
    return [n for n in torch._C._dispatch_get_all_op_names() if n.startswith("aten::")]


def test_no_allowed_overload_has_an_output_argument() -> None:
    """Results are returned: none is written into a tensor that the Plan hands over."""
    for name in all_operators():
        base, _, overload = name.removeprefix("aten::").partition(".")
        if is_allowed(f"aten.{base}.{overload or 'default'}"):
            function = getattr(getattr(torch.ops.aten, base), overload or "default")
            assert not any(argument.is_out for argument in function._schema.arguments), name


@pytest.mark.parametrize(
    "op",
    [
        "aten.from_file.default",
        "aten.set_.source_Tensor",
        "aten.resize_.default",
        "aten.as_strided.default",
        "aten.empty.memory_format",
        "aten.item.default",
        "aten.add.out",
        "aten.div.out_mode",
        "aten.sum.IntList_out",
        "aten.add",
        "aten.add.Tensor.out",
        "aten.add.__class__ ",
        "operator.attrgetter",
        "operator.pow",
        "os.system",
        "prims.add.default",
        "",
    ],
)
def test_what_is_not_a_pure_tensor_function_is_refused(op: str) -> None:
    """Storage, files, uninitialised memory, `out` overloads and other namespaces stay out."""
    assert not is_allowed(op)


@pytest.mark.parametrize(
    "op", ["aten.conv2d.default", "aten.add_.Tensor", "aten.mean.dim", "operator.getitem"]
)
def test_what_networks_are_made_of_is_allowed(op: str) -> None:
    """Ordinary operations pass, in whichever overload."""
    assert is_allowed(op)
