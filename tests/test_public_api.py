"""Names and signatures that others rely on, and an import that stays light."""

import inspect
import subprocess
import sys
import textwrap

import pytest

import e3hyena
import e3hyena.mixers
import e3hyena.nn
import e3hyena.ops
import e3hyena.testing
from e3hyena import HyenaBlock, HyenaNet, HyenaOperator, LocalGlobalBlock, SE3Hyena
from e3hyena.ops import Paths, naive, tensor_product, tensor_product_long_conv

BATCH = "(self, x, batch=None, *, ptr=None)"
CONV = "(q, k, weight, paths, *, boundary='circular')"

SIGNATURES = {
    "HyenaOperator": (
        HyenaOperator,
        "(irreps_in, irreps_out=None, irreps_hidden=None, *, mixer='query_key', boundary=None, "
        "short_conv=0, mixer_options=None)",
    ),
    "HyenaOperator.forward": (HyenaOperator.forward, BATCH),
    "HyenaBlock": (
        HyenaBlock,
        "(irreps, *, mixer='query_key', irreps_hidden=None, boundary=None, short_conv=0, "
        "mixer_options=None, expansion=2)",
    ),
    "HyenaBlock.forward": (HyenaBlock.forward, BATCH),
    "HyenaNet": (
        HyenaNet,
        "(irreps_out, *, irreps_hidden='32x0e + 32x1o', num_layers=3, mixer='coordinate', "
        "cutoff=None, pool='sum', irreps_features=None, ordered=False, boundary=None, "
        "short_conv=0, mixer_options=None, moments=None)",
    ),
    "HyenaNet.forward": (
        HyenaNet.forward,
        "(self, z, pos=None, batch=None, *, ptr=None, batch_size=None, edge_index=None, "
        "features=None, cell=None, pbc=None, shifts=None)",
    ),
    "LocalGlobalBlock": (
        LocalGlobalBlock,
        "(irreps, interaction, *, mixer='coordinate', **options)",
    ),
    "LocalGlobalBlock.forward": (
        LocalGlobalBlock.forward,
        "(self, x, edge_index, batch=None, **arguments)",
    ),
    "SE3Hyena": (
        SE3Hyena,
        "(irreps_in, irreps_out=None, irreps_hidden='16x0e + 16x1o', *, num_channels=16)",
    ),
    "SE3Hyena.forward": (SE3Hyena.forward, BATCH),
    "tensor_product_long_conv": (tensor_product_long_conv, CONV),
    "naive.tensor_product_long_conv": (naive.tensor_product_long_conv, CONV),
    "tensor_product": (tensor_product, "(x1, x2, weight, paths)"),
    "naive.tensor_product": (naive.tensor_product, "(x1, x2, weight, paths)"),
    "Paths": (Paths, "(irreps1, irreps2, irreps_out)"),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name: str) -> None:
    function, wanted = SIGNATURES[name]
    signature = inspect.signature(function)
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
    ]
    text = str(inspect.Signature(bare))
    assert text == wanted


def test_names() -> None:
    assert sorted(e3hyena.__all__) == [
        "HyenaBlock",
        "HyenaNet",
        "HyenaOperator",
        "LocalGlobalBlock",
        "SE3Hyena",
        "__version__",
        "load_pretrained",
    ]
    assert sorted(e3hyena.nn.__all__) == [
        "FeedForward",
        "Gate",
        "HyenaBlock",
        "HyenaOperator",
        "Interaction",
        "Linear",
        "LocalGlobalBlock",
        "RMSNorm",
        "ShortConv",
        "TensorProductMLP",
        "TokenNorm",
    ]
    assert {"Paths", "tensor_product", "tensor_product_long_conv"} <= set(e3hyena.ops.__all__)
    assert {"assert_equivariant", "assert_batch_independent"} <= set(e3hyena.testing.__all__)
    assert list(e3hyena.mixers.MIXERS) == [
        "query_key",
        "filter",
        "coordinate",
        "attention",
        "linear_attention",
    ]
    for module in (e3hyena, e3hyena.nn, e3hyena.ops, e3hyena.testing, e3hyena.mixers):
        assert all(hasattr(module, name) for name in module.__all__)


def test_attributes() -> None:
    operator = HyenaOperator("2x0e + 1o", "1o", "2x0e + 2x1o")
    shown = [str(x) for x in (operator.irreps_in, operator.irreps_out, operator.irreps_hidden)]
    assert shown == ["2x0e+1x1o", "1x1o", "2x0e+2x1o"]
    paths = Paths("0e + 1o", "1o", "1o + 1e")
    assert paths.num_paths == 2 and paths.instructions == [(0, 0, 0), (1, 0, 1)]


def test_import_is_light() -> None:
    """No optional dependency, no process started, nothing compiled by us."""
    code = """
        import subprocess, sys
        import torch, torch_geometric, e3nn.o3  # what they do is theirs
        before = set(sys.modules)
        def refuse(*args, **kwargs):
            raise RuntimeError(f"import starts a process: {args}")
        subprocess.Popen.__init__ = refuse
        torch.compile = torch.jit.script = refuse
        import e3hyena, e3hyena.testing
        from e3hyena import HyenaNet
        HyenaNet("1o", irreps_hidden="2x0e + 2x1o", num_layers=1)
        heavy = ["lightning", "pytorch_lightning", "matplotlib", "ase", "rdkit", "pandas",
                 "tblite", "vesin", "torch.utils.cpp_extension", "e3hyena.training", "e3hyena.data"]
        print(sorted(name for name in heavy if name in set(sys.modules) - before))
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_floors_are_attributes() -> None:
    """`import e3hyena` alone reaches every floor, without loading torch before it is needed."""
    code = (
        "import sys, e3hyena; assert 'torch' not in sys.modules; "
        "e3hyena.ops.Paths; e3hyena.ops.naive.tensor_product; e3hyena.testing.assert_equivariant; "
        "e3hyena.HyenaOperator; assert 'HyenaNet' in dir(e3hyena)"
    )
    subprocess.run([sys.executable, "-W", "error::SyntaxWarning", "-c", code], check=True)


def test_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Hyena'"):
        e3hyena.Hyena  # noqa: B018
