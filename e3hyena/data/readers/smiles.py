"""Molecules from SMILES: a geometry by RDKit."""

from e3hyena._extras import require
from e3hyena.data.readers.base import Structure, reading
from e3hyena.data.readers.sdf import structure_of

SEED = 1
MAX_ATOMS = 60  # not hydrogen
SECONDS = 4


def from_smiles(smiles: str, name: str = "", *, seed: int = SEED) -> Structure:
    """A molecule with hydrogens and one geometry: ETKDG version 3, then relaxed by MMFF94.

    The same SMILES and seed give the same geometry. It is one conformer, not the best one. Where
    MMFF94 lacks parameters, UFF relaxes; where that lacks them too, nothing does.
    """
    return _embed("", 0, smiles, name, seed)


def read_smi(file: str, text: str) -> list[Structure]:
    """One molecule per line: a SMILES and its name; a first line may say ``smiles name``."""
    structures: list[Structure] = []
    for line, content in enumerate(text.split("\n")):
        smiles, *name = content.split(maxsplit=1)[:2] or [""]
        if not smiles or (not structures and smiles.lower() == "smiles"):
            continue
        where = f"{file!r}, molecule {len(structures)} (line {line + 1})"
        with reading(where, ".smi"):
            title = name[0].strip() if name else ""
            structures.append(_embed(file, len(structures), smiles, title, SEED))
    return structures


def _embed(file: str, number: int, smiles: str, name: str, seed: int) -> Structure:
    chem, allchem = require("rdkit.Chem", "chem"), require("rdkit.Chem.AllChem", "chem")
    with require("rdkit.rdBase", "chem").BlockLogs():
        molecule = chem.MolFromSmiles(smiles) if len(smiles) < 10 * MAX_ATOMS else None
        if molecule is None or not molecule.GetNumAtoms():
            raise ValueError(f"RDKit does not understand the SMILES {smiles[:60]!r}")
        if molecule.GetNumAtoms() > MAX_ATOMS:
            raise ValueError(
                f"{smiles[:60]!r} has {molecule.GetNumAtoms()} atoms besides hydrogens; geometries "
                f"are made for up to {MAX_ATOMS}: give coordinates"
            )
        if any(atom.GetAtomicNum() == 0 for atom in molecule.GetAtoms()):
            raise ValueError(f"{smiles[:60]!r} has an atom * of no element")
        molecule = chem.AddHs(molecule)
        options = allchem.ETKDGv3()
        options.randomSeed, options.timeout = seed, SECONDS
        done = allchem.EmbedMolecule(molecule, options)
        if done < 0:  # strained cages: start anywhere, and ask for nothing that crystals have
            options.useRandomCoords = True
            options.useExpTorsionAnglePrefs = options.useBasicKnowledge = False
            done = allchem.EmbedMolecule(molecule, options)
        if done < 0:
            raise ValueError(f"RDKit finds no geometry of {smiles[:60]!r}: give coordinates")
        if allchem.MMFFHasAllMoleculeParams(molecule):
            allchem.MMFFOptimizeMolecule(molecule)
        elif allchem.UFFHasAllMoleculeParams(molecule):
            allchem.UFFOptimizeMolecule(molecule)
    structure = structure_of(file, number, molecule, name or smiles)
    structure.atoms.info["smiles"] = smiles
    return structure
