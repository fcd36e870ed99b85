"""Optional dependencies: imported where they are used, with an error that names the extra."""

import importlib
from types import ModuleType

__all__ = ["require"]


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Parameters
    ----------
    module : str
        Dotted name of the module, such as ``"ase.io"``.
    extra : str
        Extra of this package that installs it, such as ``"chem"``.

    Returns
    -------
    module : ModuleType
        The module that ``import module`` names (``ase.io``, not ``ase``).

    Raises
    ------
    ImportError
        If the package is not installed; the message names the command that installs it. A package
        that is installed but fails to import raises its own error unchanged.

    Examples
    --------
    >>> require("json", "train").loads("[1, 2]")
    [1, 2]
    >>> require("no_such_package", "chem")
    Traceback (most recent call last):
    ...
    ImportError: this needs the package 'no_such_package', ... pip install 'e3hyena[chem]'
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise ImportError(
            f"this needs the package {module!r}, which is not installed: "
            f"pip install 'e3hyena[{extra}]'",
            name=module,
        ) from error
