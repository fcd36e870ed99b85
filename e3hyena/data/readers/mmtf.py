"""MMTF: structures of the protein data bank in MessagePack, through mmtf-python."""

from typing import Any

import numpy as np

from e3hyena._extras import require

CODECS = (2, 4, 5, 6, 8, 9, 10)  # that mmtf-python reads
RUNS = (6, 8, 9)  # of values and how often each is repeated
LARGEST = 10**8  # atoms


def read_entry(content: bytes) -> Any:
    """The structure of gemmi that an MMTF file holds.

    MMTF does not say which atoms are hetero atoms: those outside of polymers are, and those of
    residues that are not standard ones.
    """
    gemmi = require("gemmi", "structures")
    fields = require("msgpack", "structures").unpackb(content, raw=False)
    for name, value in fields.items():
        if isinstance(value, bytes):
            _check_field(name, value)
    file = require("mmtf", "structures").MMTFDecoder()
    file.decode_data(fields)
    number, count = len(file.x_coord_list), len(file.group_type_list)
    kinds = [file.group_list[kind] for kind in file.group_type_list]
    _check_counts(file, sum(len(kind["atomNameList"]) for kind in kinds), number)
    codes = _known(file.ins_code_list, [""] * count)
    groups = zip(kinds, file.group_id_list, codes, strict=True)
    atoms = zip(
        file.x_coord_list,
        file.y_coord_list,
        file.z_coord_list,
        _known(file.alt_loc_list, [""] * number),
        _known(file.occupancy_list, [1.0] * number),
        _known(file.atom_id_list, range(1, number + 1)),
        strict=True,
    )
    others = {
        i for entity in file.entity_list if entity["type"] != "polymer"
        for i in entity["chainIndexList"]
    }  # fmt: skip
    names = _known(file.chain_name_list, file.chain_id_list)
    chains = enumerate(zip(names, file.groups_per_chain, strict=True))
    entry = gemmi.Structure()
    entry.name = file.structure_id or ""
    for place, length in enumerate(file.chains_per_model):
        model = gemmi.Model(place + 1)
        for _ in range(length):
            index, (name, size) = next(chains)
            chain = gemmi.Chain(name)
            for _ in range(size):
                kind, group, code = next(groups)
                residue = _residue(kind, atoms)
                residue.seqid = gemmi.SeqId(int(group), code.strip("\0") or " ")
                standard = gemmi.find_tabulated_residue(residue.name).is_standard()
                residue.het_flag = "A" if standard and index not in others else "H"
                chain.add_residue(residue)
            model.add_chain(chain)
        entry.add_model(model)
    return entry


def _known(values: Any, default: Any) -> Any:
    """What the file says, or what stands for it: most of MMTF's lists may be missing."""
    return values if len(values) else default


def _residue(kind: dict[str, Any], atoms: Any) -> Any:
    """The next residue, of the given kind; takes its atoms."""
    gemmi = require("gemmi", "structures")
    residue = gemmi.Residue()
    residue.name = kind["groupName"]
    members = kind["atomNameList"], kind["elementList"], kind["formalChargeList"]
    for name, element, charge in zip(*members, strict=True):
        atom = gemmi.Atom()
        atom.name, atom.element, atom.charge = name, gemmi.Element(element), charge
        x, y, z, label, atom.occ, atom.serial = next(atoms)
        atom.pos = gemmi.Position(x, y, z)
        atom.altloc = label or "\0"
        residue.add_atom(atom)
    return residue


def _check_field(name: str, packed: bytes) -> None:
    """Refuse codecs that are not known, and repetitions that would not fit into memory."""
    codec, length = np.frombuffer(packed, ">i4", 2)
    if codec not in CODECS:
        raise ValueError(f"{name} is packed by codec {codec}, which mmtf-python does not read")
    if codec in RUNS:
        counts = np.frombuffer(packed, ">i4", offset=12)[1::2].astype(np.int64)
        if counts.sum() != length or length > LARGEST or counts.min(initial=0) < 0:
            raise ValueError(f"{name} says {length} values, and has {counts.sum()}")


def _check_counts(file: Any, held: int, number: int) -> None:
    """Models, chains, residues and atoms are as many as their parents say."""
    for what, wanted, found in (
        ("chains", sum(file.chains_per_model), len(file.groups_per_chain)),
        ("residues", sum(file.groups_per_chain), len(file.group_type_list)),
        ("atoms", held, number),
    ):
        if wanted != found:
            raise ValueError(f"it tells of {wanted} {what}, but has {found}")
