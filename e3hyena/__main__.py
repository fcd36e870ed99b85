"""``python -m e3hyena`` is the command ``e3hyena``."""

import sys

from e3hyena.cli import main

if __name__ == "__main__":
    sys.exit(main())
