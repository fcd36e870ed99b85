"""Optional dependencies: imported where they are used, with an error that names the extra."""

import importlib
from types import ModuleType


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency."""
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
