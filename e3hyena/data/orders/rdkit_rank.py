"""By what RDKit knows of the bonds."""

import numpy as np
from torch_geometric.data.datapipes import functional_transform

from e3hyena._extras import require
from e3hyena.data.orders.canonical import CanonicalOrder
from e3hyena.data.orders.refinement import Array

BOND_FACTOR = 1.3  # of the sum of covalent radii, RDKit's own


@functional_transform("rdkit_order")
class RDKitOrder(CanonicalOrder):
    """By RDKit's canonical rank of the bond graph (`rdkit_order`); needs the extra ``chem``.

    The bond graph is perceived from elements and distances: two atoms are bonded when they are
    closer than 1.3 times the sum of RDKit's covalent radii. So every atom is the atom it is in
    ``z`` and ``pos``; a ``smiles`` attribute, which lists no hydrogens in no order that can be
    matched for sure, is not read. Bond orders, charges and stereo are not perceived. RDKit ranks
    atoms without breaking ties (Schneider, Sahnoun, Landrum, 2015); atoms alike in the bond graph
    are then told apart by geometry. Ties and parameters as in `CanonicalOrder`.

    Raises
    ------
    ValueError
        If an element is not in RDKit's periodic table.
    ImportError
        If RDKit is not installed.

    Examples
    --------
    >>> import torch
    >>> from torch_geometric.data import Data
    >>> pos = torch.tensor([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    >>> RDKitOrder()(Data(z=torch.tensor([8, 1, 1]), pos=pos)).z
    tensor([1, 1, 8])
    """

    def places(self, z: Array, distance: Array) -> np.ndarray:
        """Rank the bond graph, break its ties by distances."""
        chem = require("rdkit.Chem", "chem")
        table = chem.GetPeriodicTable()
        if z.min() < 1 or z.max() > table.GetMaxAtomicNumber():
            raise ValueError(
                f"atomic numbers run from {z.min():.0f} to {z.max():.0f}; RDKit knows 1 to "
                f"{table.GetMaxAtomicNumber()}"
            )
        molecule = chem.RWMol()
        for number in z.astype(int).tolist():
            atom = chem.Atom(number)
            atom.SetNoImplicit(True)
            molecule.AddAtom(atom)
        radius = np.array([table.GetRcovalent(int(number)) for number in z])
        bonded = distance < BOND_FACTOR * (radius[:, None] + radius)
        for i, j in zip(*np.nonzero(np.triu(bonded, 1)), strict=True):
            molecule.AddBond(int(i), int(j), chem.BondType.SINGLE)
        molecule.UpdatePropertyCache(strict=False)
        chem.FastFindRings(molecule)
        ranks = chem.CanonicalRankAtoms(molecule, breakTies=False, includeChirality=False)
        return self._rank([np.array(list(ranks), dtype=np.float64)], z, distance)
