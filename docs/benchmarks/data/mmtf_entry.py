"""Whole structures out of MMTF's test suite, among them a ribosome."""

from __future__ import annotations

import numpy as np
import torch
from torch_geometric.data import Data

from benchmarks.data.packages import fetch, read_files
from e3hyena._extras import require


def read_mmtf(name: str, chains: int | None = None) -> Data:
    """Heavy atoms of the first model, with what `charged` needs, in the given order.

    Parameters
    ----------
    name : str
        Identifier of the entry, such as ``"4V5A"``.
    chains : int, optional
        Keep this many chains of polymers, the first ones; None for all atoms.

    Raises
    ------
    ImportError
        If the extra ``biomolecules`` is not installed.
    """
    (packed,) = read_files(fetch("mmtf-cppy==1.1.6"), f"/mmtf/{name}.mmtf").values()
    entry = require("mmtf", "biomolecules").MMTFDecoder()
    entry.decode_data(require("msgpack", "biomolecules").unpackb(packed, raw=False))
    asked = list(range(entry.chains_per_model[0]))
    if chains is not None:
        polymers = [entity for entity in entry.entity_list if entity["sequence"]]
        asked = sorted(i for entity in polymers for i in entity["chainIndexList"])[:chains]
    end = sum(entry.groups_per_chain[: entry.chains_per_model[0]])
    kinds = [entry.group_list[kind] for kind in entry.group_type_list[:end]]
    sizes = [len(kind["elementList"]) for kind in kinds]
    chain = np.repeat(np.arange(entry.num_chains), entry.groups_per_chain)[:end]
    numbers = require("ase.data", "biomolecules").atomic_numbers
    z = np.array([numbers[symbol.title()] for kind in kinds for symbol in kind["elementList"]])
    at = (np.repeat(np.isin(chain, asked), sizes) & (z > 1)).nonzero()[0]
    residue = np.repeat(np.arange(len(kinds)), sizes)
    names = [atom for kind in kinds for atom in kind["atomNameList"]]
    pos = np.stack([entry.x_coord_list, entry.y_coord_list, entry.z_coord_list], axis=1)[at]
    return Data(
        z=torch.from_numpy(z[at]),
        pos=torch.from_numpy((pos - pos.mean(axis=0)).astype(np.float32)),
        residue=torch.from_numpy(residue[at]),
        residue_name=[kinds[residue[i]]["groupName"] for i in at],
        atom_name=[names[i] for i in at],
    )
