"""``python -m e3hyena``, and the command ``e3hyena``."""

import sys

from e3hyena._signals import end_in_one_line


def main() -> int:
    """Run the command line; an interrupt ends it in one line from here on, imports included."""
    end_in_one_line(sys.argv[1:])
    from e3hyena.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
