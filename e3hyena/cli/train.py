"""``e3hyena train``."""

import argparse
from collections.abc import Sequence
from typing import Any

from jsonargparse import ActionConfigFile

from e3hyena.cli.command import Command
from e3hyena.registry import CATALOGUE, MIXERS, ORDERS


def _add(parser: Any, arguments: Sequence[str]) -> None:
    from e3hyena.training.config import TrainConfig
    from e3hyena.training.presets import PRESETS

    parser.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help="Start from these options; --config and single options come on top.",
    )
    parser.add_argument(
        "--config",
        action=ActionConfigFile,
        help="YAML or JSON file with any of the options below; single options after it win.",
    )
    parser.add_class_arguments(TrainConfig, as_group=True)
    parser.epilog = (
        f"--model.mixer takes {', '.join(MIXERS)}, or null. "
        f"--data.source takes {', '.join(CATALOGUE)}. "
        f"--data.order takes {', '.join(ORDERS)}, or null."
    )
    # The preset decides the defaults, so it must be known before anything is parsed.
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--preset")
    preset = PRESETS.get(finder.parse_known_args(list(arguments))[0].preset)
    if preset is not None:
        for name, value in preset.to_dict().items():
            nested = isinstance(value, dict)
            parser.set_defaults(
                {f"{name}.{key}": v for key, v in value.items()} if nested else {name: value}
            )


def _run(options: dict[str, Any]) -> None:
    from e3hyena.training.config import TrainConfig

    values = {name: value for name, value in options.items() if name not in ("config", "preset")}
    config = TrainConfig.from_dict(values)
    from e3hyena.training.run import train

    train(config)


COMMAND = Command("Train a network for molecules, or continue an interrupted training.", _add, _run)
