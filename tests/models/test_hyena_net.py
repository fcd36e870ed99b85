"""The network: E(3), permutations, batches, and forces that are finite everywhere."""

import copy

import pytest
import torch
from e3nn import o3
from torch import Tensor, nn

from e3hyena import HyenaNet
from e3hyena.models import inputs
from e3hyena.ops.radius_graph import radius_graph
from e3hyena.testing import (
    NETWORK_TOLERANCE,
    assert_batch_independent,
    assert_equivariant,
    assert_permutation_equivariant,
    perturb_parameters,
    train_steps,
)

SETS = ["coordinate", "attention", "linear_attention", None]
MIXERS = ["query_key", "filter", *SETS]
INPUTS = [None, "cartesian_points"]
BATCH = torch.tensor([0] * 8 + [1] + [2] * 5)
Z = torch.tensor([6, 1, 1, 1, 8, 7, 1, 9, 8, 6, 1, 8, 16, 17])


def build(irreps_out: str, mixer: str | None, **options: object) -> HyenaNet:
    options = {"irreps_hidden": "4x0e + 4x1o + 4x1e", "num_layers": 1, "cutoff": 3.0, **options}
    options = {"ordered": mixer in ("query_key", "filter") or "short_conv" in options, **options}
    return HyenaNet(irreps_out, mixer=mixer, **options)


def check(net: nn.Module, seeds: int = 2) -> None:
    assert_equivariant(
        net,
        INPUTS,
        args_in=[Z, None],
        kwargs={"batch": BATCH},
        translation=True,
        tolerance=NETWORK_TOLERANCE,
        seeds=seeds,
    )


class TestSymmetry:
    @pytest.mark.parametrize(
        "mixer",
        [
            pytest.param(m, marks=[pytest.mark.slow] * (m in ("filter", "attention")))
            for m in MIXERS
        ],
    )
    def test_euclidean_also_after_training(self, mixer: str | None) -> None:
        net = build("0e + 1o + 2e", mixer)
        check(net)
        check(perturb_parameters(net))
        train_steps(net, [Z, 2 * torch.randn(14, 3)], 10, kwargs={"batch": BATCH})
        check(net)

    @pytest.mark.parametrize("irreps_out", ["0e", "1o", "0e + 2e"])
    @pytest.mark.parametrize("pool", ["sum", "mean", None])
    def test_outputs_and_pools(self, irreps_out: str, pool: str | None) -> None:
        for mixer in ("coordinate", "query_key"):
            net = build(irreps_out, mixer, pool=pool)
            y = net(Z, torch.randn(14, 3), BATCH)
            assert y.shape == (14 if pool is None else 3, o3.Irreps(irreps_out).dim)
            check(net, seeds=1)

    def test_more_degrees_layers_and_no_cutoff(self) -> None:
        hidden = "4x0e + 2x0o + 4x1o + 2x2e + 2x2o"
        options = {"irreps_hidden": hidden, "num_layers": 2, "cutoff": 8.0}
        check(build("1e + 2o + 0o", "coordinate", **options), seeds=1)
        check(build("1o", "coordinate", num_layers=2, cutoff=None), seeds=1)
        check(build("1o", "query_key", short_conv=3, boundary="same"), seeds=1)

    @pytest.mark.parametrize("mixer", SETS)
    @pytest.mark.parametrize("pool", ["sum", None])
    def test_permutations(self, mixer: str | None, pool: str | None) -> None:
        """Also of the local part, which lists its own edges anew."""
        assert_permutation_equivariant(
            perturb_parameters(build("0e + 1o", mixer, pool=pool)),
            INPUTS,
            args_in=[Z, None],
            kwargs={"batch": BATCH},
            tolerance=NETWORK_TOLERANCE,
            seeds=2,
        )

    @pytest.mark.parametrize("mixer", ["query_key", "filter"])
    def test_order_matters_to_mixers_of_sequences(self, mixer: str) -> None:
        with pytest.raises(AssertionError, match="order of tokens"):
            assert_permutation_equivariant(build("1o", mixer), INPUTS, args_in=[Z, None])

    def test_features(self) -> None:
        class WithFeatures(nn.Module):
            def __init__(self, net: HyenaNet) -> None:
                super().__init__()
                self.net = net

            def forward(self, z: Tensor, pos: Tensor, features: Tensor, batch: Tensor) -> Tensor:
                return self.net(z, pos, batch, features=features)

        net = build("0e + 1o + 1e", "coordinate", irreps_features="0e + 2x1o + 1e")
        arguments = {"args_in": [Z, None, None], "kwargs": {"batch": BATCH}}
        inputs = [None, "cartesian_points", net.irreps_features]
        options = {"translation": True, "tolerance": NETWORK_TOLERANCE, "seeds": 2}
        assert_equivariant(WithFeatures(net), inputs, net.irreps_out, **arguments, **options)
        pos, features = torch.randn(14, 3), torch.randn(14, 10, requires_grad=True)
        net(Z, pos, BATCH, features=features).square().sum().backward()
        assert (features.grad.abs().amax(dim=0) > 1e-5).all()


class TestBatches:
    @pytest.mark.parametrize("mixer", MIXERS)
    def test_a_molecule_never_depends_on_its_batch_mates(self, mixer: str | None) -> None:
        elements = torch.tensor([6, 1, 1, 1, 8, 7, 1] + [8] + [6, 1, 1, 8, 16] * 2 + [1, 9, 17])
        assert_batch_independent(
            perturb_parameters(build("0e + 1o", mixer, pool=None)),
            INPUTS,
            sizes=(7, 1, 0, 10, 3),
            args_in=[elements, None],
            poison=False,
        )

    def test_pools(self) -> None:
        pos = torch.randn(14, 3)
        torch.manual_seed(1)
        atoms = build("0e + 1o", "coordinate", pool=None, moments="")
        per_atom = atoms(Z, pos, BATCH)
        for pool in ("sum", "mean"):
            torch.manual_seed(1)
            y = build("0e + 1o", "coordinate", pool=pool, moments="")(Z, pos, BATCH)
            for graph in range(3):
                mine = per_atom[graph == BATCH]
                expected = mine.sum(0) if pool == "sum" else mine.mean(0)
                torch.testing.assert_close(y[graph], expected, rtol=1e-4, atol=1e-5)

    def test_empty_molecule(self) -> None:
        net = build("0e + 1o", "coordinate")
        y = net(Z[:3], torch.randn(3, 3), torch.tensor([0, 0, 2]))
        assert y.shape == (3, 4) and y[1].isfinite().all() and not y[1].any()
        nothing = net(Z[:0], torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
        assert nothing.shape == (0, 4)

    @pytest.mark.parametrize("mixer", MIXERS)
    def test_forces_stay_in_their_molecule(self, mixer: str | None) -> None:
        pos = torch.randn(14, 3, requires_grad=True)
        energy = build("0e", mixer)(Z, pos, BATCH)
        (grad,) = torch.autograd.grad(energy[0].sum(), pos)
        assert grad[BATCH == 0].any() and not grad[BATCH != 0].any()

    def test_own_edges(self) -> None:
        net, pos = build("1o", "coordinate"), torch.randn(14, 3)
        edges = radius_graph(pos, 3.0, BATCH)
        y = net(Z, pos, BATCH)
        torch.testing.assert_close(net(Z, pos, BATCH, edge_index=edges), y)
        fewer = net(Z, pos, BATCH, edge_index=edges[:, :0])
        assert not torch.allclose(fewer, y)


class TestForces:
    @pytest.mark.parametrize("mixer", MIXERS)
    def test_finite_at_the_centroid_and_for_one_atom(self, mixer: str | None) -> None:
        """CO2 with its carbon at the centroid, a lone atom at the origin, two atoms on one spot."""
        z = torch.tensor([8, 6, 8, 10, 1, 1])
        pos = torch.zeros(6, 3)
        pos[0, 2], pos[2, 2] = 1.16, -1.16
        pos.requires_grad_()
        net = perturb_parameters(build("0e + 1o + 2e", mixer))
        y = net(z, pos, torch.tensor([0, 0, 0, 1, 2, 2]))
        assert y.isfinite().all()
        (forces,) = torch.autograd.grad(y.square().sum(), pos, create_graph=mixer != "attention")
        assert forces.isfinite().all()
        if mixer != "attention":
            forces.square().sum().backward()
            assert pos.grad.isfinite().all()
            grads = [p.grad for p in net.parameters() if p.grad is not None]
            assert all(grad.isfinite().all() for grad in grads)

    @pytest.mark.parametrize("mixer", MIXERS)
    def test_forces_sum_to_zero(self, mixer: str | None) -> None:
        """And so does the torque: the energy is invariant under E(3)."""
        net = build("0e", mixer).double()
        pos = torch.randn(14, 3, dtype=torch.float64, requires_grad=True)
        (grad,) = torch.autograd.grad(net(Z, pos).sum(), pos)
        torque = torch.linalg.cross(pos.detach(), grad)
        assert grad.abs().max() > 1e-6
        for total in (grad.sum(0), torque.sum(0)):
            torch.testing.assert_close(total / grad.abs().max(), torch.zeros_like(total),
                                       rtol=0, atol=1e-10)  # fmt: skip

    @pytest.mark.parametrize("mixer", ["coordinate", "query_key"])
    def test_energy_gradients_of_both_orders(self, mixer: str) -> None:
        net = build("0e", mixer, irreps_hidden="2x0e + 2x1o").double()
        pos = torch.randn(5, 3, dtype=torch.float64)
        pos[0] = -pos[1:].sum(0)  # centroid at the origin
        pos.requires_grad_()

        def energy(pos: Tensor) -> Tensor:
            return net(Z[:5], pos)

        assert torch.autograd.gradcheck(energy, pos)
        assert torch.autograd.gradgradcheck(energy, pos, fast_mode=True)

    @pytest.mark.parametrize("mixer", ["coordinate", "query_key"])
    def test_training_on_forces(self, mixer: str) -> None:
        net = build("0e", mixer).double()
        pos = torch.randn(14, 3, dtype=torch.float64, requires_grad=True)
        target = torch.randn(14, 3, dtype=torch.float64)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        losses = []
        for _ in range(15):
            (grad,) = torch.autograd.grad(net(Z, pos, BATCH).sum(), pos, create_graph=True)
            loss = (target + grad).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.9 * losses[0]

    def test_smooth_across_the_cutoff(self) -> None:
        """Two atoms: energies and forces are continuous where the edge appears."""
        net = build("0e", None, cutoff=2.0).double()
        values = []
        for distance in (2 - 1e-6, 2 + 1e-6):
            pos = torch.tensor([[0, 0, 0], [0, 0, distance]], dtype=torch.float64)
            pos.requires_grad_()
            y = net(torch.tensor([6, 8]), pos)
            values.append((y.detach(), torch.autograd.grad(y.sum(), pos)[0]))
        torch.testing.assert_close(values[0], values[1], rtol=1e-4, atol=1e-5)


class TestBadInput:
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_positions_not_finite(self, value: float) -> None:
        pos = torch.randn(14, 3)
        pos[4, 1] = pos[9, 2] = value
        with pytest.raises(ValueError, match=r"positions of atoms \[4, 9\] are not finite"):
            build("1o", "coordinate")(Z, pos)

    @pytest.mark.parametrize("element", [0, -1, 119])
    def test_unknown_element(self, element: int) -> None:
        z = Z.clone()
        z[3] = element
        with pytest.raises(ValueError, match=rf"{element}.*elements are 1 to 118"):
            build("1o", "coordinate")(z, torch.randn(14, 3))

    @pytest.mark.parametrize(("z", "pos"), [((14,), (13, 3)), ((14, 1), (14, 3)), ((14,), (14, 2))])
    def test_shapes(self, z: tuple[int, ...], pos: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"wanted \(num_atoms,\) and \(num_atoms, 3\)"):
            build("1o", "coordinate")(torch.ones(z, dtype=torch.long), torch.randn(pos))

    def test_float_elements(self) -> None:
        with pytest.raises(TypeError, match=r"atomic numbers are torch\.float32; convert"):
            build("1o", "coordinate")(Z.float(), torch.randn(14, 3))

    def test_no_tensors(self) -> None:
        with pytest.raises(TypeError, match=r"pos is a ndarray; give a torch\.Tensor"):
            build("1o", "coordinate")(Z, torch.randn(14, 3).numpy())
        with pytest.raises(TypeError, match="z is a list"):
            build("1o", "coordinate")(Z.tolist(), torch.randn(14, 3))

    def test_unsorted_batch(self) -> None:
        with pytest.raises(ValueError, match=r"batch is unsorted.*torch\.argsort"):
            build("1o", "coordinate")(Z, torch.randn(14, 3), BATCH.flip(0))

    def test_features(self) -> None:
        pos = torch.randn(14, 3)
        with pytest.raises(ValueError, match=r"features have shape \(14, 2\)"):
            build("1o", "coordinate")(Z, pos, features=torch.randn(14, 2))
        net = build("1o", "coordinate", irreps_features="1o")
        with pytest.raises(ValueError, match=r"shape None; irreps_features=1x1o wants \(14, 3\)"):
            net(Z, pos)
        with pytest.raises(ValueError, match=r"features have shape \(13, 3\)"):
            net(Z, pos, features=torch.randn(13, 3))

    @pytest.mark.parametrize(
        ("irreps_out", "options", "message"),
        [
            ("1p", {}, "irreps_out='1p' does not parse"),
            ("1o", {"irreps_hidden": "x"}, "irreps_hidden='x' does not parse"),
            ("1o", {"irreps_features": "x"}, "irreps_features='x' does not parse"),
            ("1o", {"irreps_hidden": "0x0e"}, "irreps_hidden='0x0e' holds nothing; take"),
            ("1o", {"irreps_hidden": ""}, "irreps_hidden='' holds nothing; take"),
            ("1o", {"num_layers": -1}, "num_layers=-1 must not be negative"),
            ("1o", {"moments": "0e"}, "moments='0e' holds 0e; positions have moments"),
            ("1o", {"pool": "max"}, "pool='max' is unknown; use 'sum', 'mean' or None"),
            ("1o", {"mixer": "fnet"}, "mixer='fnet' is unknown"),
        ],
    )
    def test_construction(self, irreps_out: str, options: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            HyenaNet(irreps_out, **options)


class TestKinds:
    """Outputs that parity forbids are said, and what a path can reach is reached."""

    @pytest.mark.parametrize("mixer", SETS)
    @pytest.mark.parametrize("irreps_out", ["0o", "1e", "0e + 1e", "0e + 2e", "3o + 2o"])
    def test_products_of_vectors(self, irreps_out: str, mixer: str | None) -> None:
        """Kinds that the hidden features lack come from products of two and three of them."""
        net = build(irreps_out, mixer, irreps_hidden="8x0e + 8x1o", cutoff=8.0)
        y = net(Z, torch.randn(14, 3), BATCH)
        assert all(y[0, part].abs().max() > 1e-5 for part in net.irreps_out.slices())
        check(net, seeds=1)

    @pytest.mark.parametrize(
        ("irreps_out", "options", "zero", "advice"),
        [
            ("1o", {"irreps_hidden": "4x1o"}, "the output", "irreps_hidden='4x0e+4x1o'"),
            ("1e", {"irreps_hidden": "4x0e"}, "the output", "irreps_hidden='4x0e+4x1o'"),
            ("0e + 4e", {"irreps_hidden": "4x0e + 4x1o"}, "4e in", "='4x0e+4x1o+4x4e'"),
            ("0o", {"irreps_hidden": "4x0e + 4x1e"}, "the output", "='4x0e+4x1o+4x1e'"),
            ("2e", {"irreps_hidden": "4x0e", "num_layers": 0}, "the output", "and num_layers=1"),
        ],
    )
    @pytest.mark.parametrize("mixer", ["coordinate", "attention", None])
    def test_always_zero(
        self, irreps_out: str, options: dict, zero: str, advice: str, mixer: str | None
    ) -> None:
        """The advice is good: it reaches every kind, without a warning."""
        with pytest.warns(UserWarning, match=rf"{zero}.* always zero: irreps_hidden=") as record:
            net = HyenaNet(irreps_out, mixer=mixer, cutoff=3.0, **{"num_layers": 2, **options})
        message = str(record[0].message)
        assert len(record) == 1 and record[0].filename == __file__ and advice in message
        z, pos = Z[:8], 2 * torch.randn(8, 3, dtype=torch.float64)
        y, reached = net.double()(z, pos), net.reached()
        for (_, ir), part in zip(net.irreps_out, net.irreps_out.slices(), strict=True):
            assert y[:, part].any() == (ir in reached)
        hidden = message.split("take irreps_hidden='")[1].split("'")[0]
        num_layers = int(message.split("num_layers=")[-1]) if "and num_layers" in message else 2
        better = HyenaNet(
            irreps_out, irreps_hidden=hidden, num_layers=num_layers, mixer=mixer, cutoff=3.0
        )
        y = better.double()(z, pos)
        assert all(y[:, part].abs().max() > 1e-6 for part in better.irreps_out.slices())

    def test_nothing_but_a_cutoff_helps(self) -> None:
        with pytest.warns(UserWarning, match="always zero.*give a cutoff, or take mixer='coordi"):
            HyenaNet("4o", irreps_hidden="4x0e", num_layers=1, mixer="attention")


class TestWhatIsLegal:
    @pytest.mark.parametrize("cutoff", [3.0, None])
    def test_irreps_without_copies(self, cutoff: float | None) -> None:
        """They are not there, whatever their degree."""
        torch.manual_seed(0)
        plain = build("0e + 1o", "coordinate", irreps_hidden="8x0e", cutoff=cutoff)
        torch.manual_seed(0)
        odd = build(
            "0e + 0x3e + 1o", "coordinate", irreps_hidden="8x0e + 0x1o + 0x3o", cutoff=cutoff
        )
        pos = torch.randn(14, 3)
        torch.testing.assert_close(odd(Z, pos, BATCH), plain(Z, pos, BATCH))

    def test_no_layers(self) -> None:
        net = build("0e", None, num_layers=0)
        assert net(Z, torch.randn(14, 3), BATCH).shape == (3, 1)

    @pytest.mark.parametrize("mixer", MIXERS)
    @pytest.mark.parametrize("options", [{"cutoff": None}, {}], ids=str)
    def test_meta_tensors(self, mixer: str | None, options: dict) -> None:
        net = build("0e + 1o", mixer, **options).to("meta")
        z, pos = Z.to("meta"), torch.empty(14, 3, device="meta")
        edges = torch.empty(2, 20, dtype=torch.long, device="meta")
        y = net(z, pos, edge_index=edges if net.cutoff else None)
        assert y.shape == (1, 4) and y.is_meta

    @pytest.mark.parametrize("mixer", MIXERS)
    @pytest.mark.parametrize(
        "options", [{"cutoff": None}, {}, {"mixer_options": {"range": 4.0}}], ids=str
    )
    def test_another_default_device(self, mixer: str | None, options: dict) -> None:
        """Whatever a pass makes, it makes where the atoms are."""
        if mixer in ("query_key", "filter") and "mixer_options" in options:
            pytest.skip("has no range")
        net, pos = build("0e + 1o", mixer, **options), torch.randn(14, 3)
        expected = net(Z, pos, BATCH)
        with torch.device("meta"):
            assert torch.equal(net(Z, pos, BATCH), expected)
            made = build("0e + 1o", mixer, **options)
        assert all(x.is_meta for x in (*made.parameters(), *made.buffers()))


@pytest.mark.parametrize("irreps_out", ["0e", "1o"])
@pytest.mark.parametrize("cutoff", [3.0, None])
def test_a_fresh_network_starts_at_the_scale_of_standardised_data(
    irreps_out: str, cutoff: float | None
) -> None:
    """Root mean square below about one, summed over some twenty atoms."""
    from e3hyena.data import QM9Extract

    molecules = [QM9Extract("test")[i] for i in range(0, 600, 30)]
    z, pos = (torch.cat([data[key] for data in molecules]) for key in ("z", "pos"))
    batch = torch.repeat_interleave(torch.tensor([len(data.z) for data in molecules]))
    sizes = []
    for mixer in MIXERS:
        for seed in range(2):
            torch.manual_seed(seed)
            options = {"irreps_hidden": "16x0e + 16x1o", "num_layers": 2, "cutoff": cutoff}
            with torch.no_grad():
                y = build(irreps_out, mixer, **options)(z, pos, batch)
            sizes.append(y.square().mean().sqrt().item())
    assert sorted(sizes)[len(sizes) // 2] < 1 and max(sizes) < 3 and min(sizes) > 0.01


@pytest.mark.parametrize("options", [{}, {"mixer": "filter"}, {"short_conv": 3}])
def test_order_without_meaning_warns_once(options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_warned", [])
    options = {"mixer": "coordinate" if "short_conv" in options else "query_key", **options}
    with pytest.warns(
        UserWarning, match=r"'coordinate', .* ordered=True; .*order-and-symmetry\.md"
    ):
        HyenaNet("1o", num_layers=1, **options)
    HyenaNet("1o", num_layers=1, **options)  # a second warning would be an error


def test_no_warning_where_order_has_meaning_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_warned", [])
    HyenaNet("1o", num_layers=1, mixer="query_key", ordered=True)
    for mixer in SETS:
        HyenaNet("1o", num_layers=1, mixer=mixer)


def test_state_holds_parameters_only() -> None:
    net = build("1o", "coordinate", irreps_features="0e")
    assert set(net.state_dict()) == {name for name, _ in net.named_parameters()}
    pos, features = torch.randn(14, 3), torch.randn(14, 1)
    other = copy.deepcopy(net)
    assert torch.equal(other(Z, pos, features=features), net(Z, pos, features=features))


def test_repr() -> None:
    net = build("1o", "coordinate")
    numel = sum(p.numel() for p in net.parameters())
    assert net.extra_repr() == (
        "atoms -> 4x0e+4x1o+4x1e -> 1x1o, mixer='coordinate', cutoff=3.0, pool='sum' "
        f"| {numel} parameters"
    )
