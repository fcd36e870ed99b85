"""What a PDB or mmCIF file says, and what becomes of it."""

import struct

import pytest
import torch
from torch_geometric.data import Batch

from e3hyena.data import ResidueOrder
from e3hyena.data.biomolecules import read_biomolecule
from e3hyena.data.structures import read_structures

gemmi = pytest.importorskip("gemmi")
pytest.importorskip("ase")


def line(serial, name, residue, number, x, alt=" ", occupancy=1.0, chain="A", het=False, code=" "):
    """One atom, in the columns of the format; its element is the first letter of its name."""
    record, element = ("HETATM" if het else "ATOM"), "ZN" if name == "ZN" else name[0]
    place = name if name == "ZN" else f" {name}"
    return (
        f"{record:6}{serial:5} {place:4}{alt}{residue:>3} {chain}{number:4}{code}   "
        f"{x:8.3f}{0:8.3f}{0:8.3f}{occupancy:6.2f}{0:6.2f}          {element:>2}"
    )


ALANINE = [
    line(1, "N", "ALA", 52, 0.0),
    line(2, "CA", "ALA", 52, 1.4, "A", 0.4),
    line(3, "CA", "ALA", 52, 1.5, "B", 0.6),
    line(4, "CB", "ALA", 52, 2.4, "A", 0.4),
    line(5, "N", "GLY", 52, 3.0, code="A"),
]
MIXED = [line(6, "N", "SER", 53, 4.0, "A", 0.3), line(7, "N", "THR", 53, 4.5, "B", 0.7)]
LIGANDS = [
    line(8, "ZN", "ZN", 100, 5.0, het=True),
    line(9, "O", "HOH", 101, 6.0, het=True),
    line(10, "O", "HOH", 101, 7.0, het=True, chain="B"),
]
HEADER = "HEADER    TEST                                    01-JAN-00   1ABC              "
PDB = "\n".join([HEADER, *ALANINE, *MIXED, "TER", *LIGANDS, "END", ""])


def write(tmp_path, text, name="a.pdb"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def as_cif(tmp_path, text):
    structure = gemmi.read_pdb_string(text)
    structure.name = structure.info["_entry.id"] if "_entry.id" in structure.info else "TEST"
    structure.setup_entities()
    return write(tmp_path, structure.make_mmcif_document().as_string(), "a.cif")


def as_mmtf(tmp_path, text, **changed):
    """The first model, every residue of a kind of its own; `changed` fields, None for none."""
    encode = pytest.importorskip("mmtf.codecs").encode_array
    chains = list(gemmi.read_pdb_string(text)[0])
    residues = [residue for chain in chains for residue in chain]
    atoms = [atom for residue in residues for atom in residue]
    kinds = [
        {
            "groupName": residue.name,
            "atomNameList": [atom.name for atom in residue],
            "elementList": [atom.element.name for atom in residue],
            "formalChargeList": [atom.charge for atom in residue],
        }
        for residue in residues
    ]
    codes = ["" if residue.seqid.icode == " " else residue.seqid.icode for residue in residues]
    fields = {
        "structureId": "1ABC",
        "groupList": kinds,
        "groupTypeList": encode(list(range(len(kinds))), 4, 0),
        "groupIdList": encode([residue.seqid.num for residue in residues], 8, 0),
        "insCodeList": encode([code or "\0" for code in codes], 6, 0),
        "chainIdList": encode([chain.name for chain in chains], 5, 4),
        "altLocList": encode([atom.altloc for atom in atoms], 6, 0),
        "occupancyList": encode([atom.occ for atom in atoms], 9, 100),
        "atomIdList": encode([atom.serial for atom in atoms], 8, 0),
        **{f"{x}CoordList": encode([atom.pos[i] for atom in atoms], 10, 1000)
           for i, x in enumerate("xyz")},
        "chainsPerModel": [len(chains)],
        "groupsPerChain": [len(chain) for chain in chains],
        **dict.fromkeys(["numBonds", "numChains", "numModels", "numAtoms", "numGroups"], 0),
        **changed,
    }  # fmt: skip
    packed = pytest.importorskip("msgpack").packb(
        {k: v for k, v in fields.items() if v is not None}
    )
    (tmp_path / "a.mmtf").write_bytes(packed)
    return tmp_path / "a.mmtf"


AS = {"pdb": write, "cif": as_cif, "mmtf": as_mmtf}


@pytest.mark.parametrize("form", AS)
def test_every_field(tmp_path, form):
    data = read_biomolecule(AS[form](tmp_path, PDB))
    assert data.serial.tolist() == [1, 3, 4, 5, 7, 8, 9, 10]  # given order, best alternatives
    assert data.z.tolist() == [7, 6, 6, 7, 7, 30, 8, 8]
    assert data.atom_name == ["N", "CA", "CB", "N", "N", "ZN", "O", "O"]
    assert data.residue_name == ["ALA"] * 3 + ["GLY", "THR", "ZN", "HOH", "HOH"]
    assert data.residue.tolist() == [0, 0, 0, 1, 2, 3, 4, 5]
    assert data.residue_number.tolist() == [52, 52, 52, 52, 53, 100, 101, 101]
    assert data.insertion_code == ["", "", "", "A", "", "", "", ""]
    assert data.chain == ["A"] * 7 + ["B"]
    assert data.hetero.tolist() == [False] * 5 + [True] * 3
    assert data.name == "1ABC"
    x = data.pos[:, 0] + data.origin[0, 0]
    assert x.tolist() == pytest.approx([0, 1.5, 2.4, 3, 4.5, 5, 6, 7])
    assert data.pos.mean(dim=0).abs().max() < 1e-6 and data.pos.dtype == torch.float32
    data.validate()


def test_what_is_left_out(tmp_path):
    path = write(tmp_path, PDB.replace("CB ", "HB "))
    path.write_text(
        path.read_text().replace("           C\nATOM      5", "           H\nATOM      5")
    )
    assert read_biomolecule(path, water=False).residue_name[-1] == "ZN"
    assert read_biomolecule(path, hetero=False).residue_name[-3:] == ["THR", "HOH", "HOH"]
    only = read_biomolecule(path, hetero=False, water=False, hydrogens=False)
    assert only.serial.tolist() == [1, 3, 5, 7] and only.residue.tolist() == [0, 0, 1, 2]
    assert read_biomolecule(path, hydrogens=True).z.tolist()[2] == 1
    waters = write(tmp_path, "\n".join(LIGANDS[1:]), "w.pdb")
    with pytest.raises(ValueError, match=r"w\.pdb': no atoms are left with .*'water': False"):
        read_biomolecule(waters, water=False)


@pytest.mark.parametrize("cif", [False, True])
def test_models(tmp_path, cif):
    models = "".join(
        "\n".join(
            [
                f"MODEL     {number:4}",
                line(1, "N", "ALA", 1, 0.0),
                line(2, "C", "ALA", 1, 1.0 + number),
                "ENDMDL\n",
            ]
        )
        for number in (1, 2)
    )
    path = as_cif(tmp_path, models) if cif else write(tmp_path, models + "END\n")
    with pytest.warns(UserWarning, match="the first of 2 models is read"):
        first = read_biomolecule(path)
    second = read_biomolecule(path, model=2)
    assert [float(d.pos[1, 0] - d.pos[0, 0]) for d in (first, second)] == pytest.approx([2, 3])
    for model in (0, 3):
        with pytest.raises(ValueError, match=f"model={model}, but there are 2, counted from 1"):
            read_biomolecule(path, model=model)


def test_no_entry_vanishes(tmp_path):
    path = write(tmp_path, PDB + PDB.replace("1ABC", "2XYZ"))
    found = read_structures(path)
    assert [(s.frame, s.name, len(s.atoms)) for s in found] == [(0, "1ABC", 8), (1, "2XYZ", 8)]
    text = as_cif(tmp_path, PDB).read_text()
    both = write(tmp_path, text + text.replace("1ABC", "2XYZ") + "data_empty\n_a.b 1\n", "b.cif")
    assert [s.name for s in read_structures(both)] == ["1ABC", "2XYZ"]


def test_one_alternative_per_residue(tmp_path):
    """A residue is not mixed from alternatives, also where the occupancies of atoms differ."""
    rows = [
        line(1, "N", "ALA", 1, 0.0, "A", 0.7),
        line(2, "N", "ALA", 1, 0.5, "B", 0.3),
        line(3, "CA", "ALA", 1, 1.0, "A", 0.4),
        line(4, "CA", "ALA", 1, 1.5, "B", 0.5),
        line(5, "CB", "ALA", 1, 2.5, "B", 0.5),
        line(6, "N", "ALA", 2, 3.0, "A", 0.5),
        line(7, "N", "ALA", 2, 3.5, "B", 0.5),
        line(8, "O", "ALA", 2, 4.0),
        line(9, "O", "ALA", 2, 4.1),  # no alternatives: nothing is dropped
    ]
    data = read_biomolecule(write(tmp_path, "\n".join(rows)))
    assert data.serial.tolist() == [1, 3, 5, 6, 8, 9]


def test_residue_order_and_batches(tmp_path):
    data = read_biomolecule(write(tmp_path, "\n".join([*LIGANDS, *ALANINE[::-1], ""])))
    ordered = ResidueOrder()(data)
    assert ordered.chain == sorted(ordered.chain)
    assert ordered.residue_name == ["ZN", "HOH", "GLY", "ALA", "ALA", "ALA", "HOH"]
    assert ordered.atom_name[3:6] == ["N", "CA", "CB"]
    batch = Batch.from_data_list([data, ordered])
    assert batch.pos.shape == (14, 3) and batch[1].atom_name == ordered.atom_name


def test_notes_and_columns_of_structures(tmp_path):
    text = PDB.replace("ZN\nHETATM    9", "ZN2+\nHETATM    9")
    (structure,) = read_structures(write(tmp_path, text))
    assert structure.notes == ("charge +2", "5 of 6 residues without hydrogens")
    assert structure.atoms.arrays["residuenames"].tolist()[3:5] == ["GLY", "THR"]
    assert structure.atoms.arrays["residuenumbers"].tolist()[3] == "52A"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is empty"),
        ("HEADER    a poem\n", "no line ATOM or HETATM"),
        (PDB.replace("   1.500   0.000", "   1.5x0   0.000"), "line 4: x is '1.5x0', not a finite"),
        (PDB.replace("   1.500   0.000", "   1.500     nan"), "line 4: y is 'nan'"),
        (PDB.replace("   1.500   0.000", "   1.500        "), "line 4: y is ''"),
        (PDB.replace("  0.60", "  x.60"), "line 4: occupancy is 'x.60'"),
        (PDB[:250], "line 4: x is ''"),
        (PDB.replace("          ZN", "           X").replace("ZN    ZN", "XX    XX"), "no element"),
    ],
)
def test_broken_pdb(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as error:
        read_structures(write(tmp_path, text))
    assert "a.pdb'" in str(error.value)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: "data_a\n_cell.length_a 1\n", "no table _atom_site with Cartn_x"),
        (lambda t: "a poem", "cannot be read as .cif"),
        (lambda t: t.replace("1.5 ", "x.5 ", 1), "position of atom 1 is not finite"),
        (lambda t: t[: t.index("_atom_site.Cartn_z")] + "\nATOM 1 N\n", "cannot be read as .cif"),
        (lambda t: t.rstrip()[:-20], "cannot be read as .cif"),
    ],
)
def test_broken_cif(tmp_path, change, message):
    path = as_cif(tmp_path, PDB)
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message):
        read_structures(path)


def test_wrong_names(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.pdb"):
        read_biomolecule(tmp_path / "none.pdb")
    with pytest.raises(ValueError, match=r"must be one of \.pdb, \.ent, \.cif, \.mmcif"):
        read_biomolecule(write(tmp_path, PDB, "a.bcif"))


def test_mmtf_says_what_it_lacks(tmp_path):
    optional = ("insCodeList", "altLocList", "occupancyList", "atomIdList", "structureId")
    (found,) = read_structures(as_mmtf(tmp_path, PDB, **dict.fromkeys(optional)))
    assert found.name == "a" and found.nodes["serial"].tolist() == list(range(1, 11))
    entity = {"type": "non-polymer", "chainIndexList": [0]}
    data = read_biomolecule(as_mmtf(tmp_path, PDB, entityList=[entity]))
    assert data.hetero.all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"xCoordList": None}, "it has no 'xCoordList'"),
        ({"groupsPerChain": [1, 1]}, r"it tells of 2 residues, but has 7"),
        ({"chainsPerModel": [3]}, r"it tells of 3 chains, but has 2"),
        ({"groupIdList": struct.pack(">3i", 7, 0, 0)}, r"groupIdList is packed by codec 7"),
        ({"altLocList": struct.pack(">5i", 6, 10, 0, 65, 2**31 - 1)}, r"altLocList says 10 values"),
    ],
)
def test_damaged_mmtf(tmp_path, changed, message):
    path = as_mmtf(tmp_path, PDB, **changed)
    with pytest.raises(ValueError, match=rf"a\.mmtf', molecule 0: .*{message}"):
        read_structures(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"a\.mmtf', molecule 0: cannot be read as \.mmtf"):
        read_structures(path)
