"""Presets: TOML files whose keys are option names."""

import difflib
import tomllib
from pathlib import Path
from typing import Any

import click

from vita_demo.errors import ConfigError
from vita_demo.resources import resource


def read_preset(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Make the preset's values the command's defaults; flags and environment variables win over them.

    Raises:
        ConfigError: when the file cannot be read or holds a key that is no option of the command.
    """
    if value is None:
        return None
    path = _find(value)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config {value} cannot be read ({error}); give a TOML file of option names") from error
    names = _option_names(ctx.command)
    for key in content:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"did you mean {near[0]}?" if near else "vita-demo --help lists the options"
            raise ConfigError(f"--config {value}: {key} is no option; {hint}")
    ctx.default_map = {names[key]: item for key, item in content.items()}
    return value


def _find(value: str) -> Path:
    path = Path(value).expanduser()
    if path.suffix == ".toml" or path.exists():
        return path
    presets = resource("configs", "presets")
    known = sorted(file.stem for file in presets.glob("*.toml"))
    if value not in known:
        raise ConfigError(f"--config {value} is neither a TOML file nor a preset; presets are {', '.join(known)}")
    return presets / f"{value}.toml"


def _option_names(command: click.Command) -> dict[str, Any]:
    """Map the written names of options, without dashes, to those of their values."""
    return {option.lstrip("-"): parameter.name for parameter in command.params for option in parameter.opts}
