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
        # Editors on Windows begin files with a byte order mark.
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise ConfigError(f"--config {value} is nested too deeply; write name = value, one a line") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config {value} cannot be read ({error}); give a TOML file of option names") from error
    options = _options(ctx.command)
    defaults = {}
    for key, item in content.items():
        name = key.replace("-", "_")
        if name not in options:
            near = difflib.get_close_matches(name, options, n=1)
            hint = f"did you mean {near[0]}?" if near else "vita-demo --help lists the options"
            raise ConfigError(f"--config {value}: {key} is no option; {hint}")
        option = options[name]
        defaults[option.name] = _checked(ctx, option, item, f"--config {value}: {key} = {item!r:.60}")
    ctx.default_map = defaults
    return value


def _checked(ctx: click.Context, option: click.Option, item: Any, what: str) -> Any:
    """Return a preset's value as the option takes it.

    Raises:
        ConfigError: beginning with ``what``, when it is of another kind.
    """
    if option.multiple and not isinstance(item, list):
        item = [item]
    for single in item if option.multiple else [item]:
        if option.is_flag != isinstance(single, bool) or not isinstance(single, bool | int | float | str):
            wanted = "true or false" if option.is_flag else "a text or a number"
            raise ConfigError(f"{what} must be {'a list of texts' if option.multiple else wanted}")
        if isinstance(single, float) and isinstance(option.type, click.types.IntParamType):
            raise ConfigError(f"{what} must be a whole number")
    try:
        option.type_cast_value(ctx, item)
    except click.BadParameter as error:
        raise ConfigError(f"{what} {error.message.rstrip('.')}") from None
    return item


def _find(value: str) -> Path:
    path = Path(value).expanduser()
    if path.suffix == ".toml" or path.exists():
        return path
    presets = resource("configs", "presets")
    known = sorted(file.stem for file in presets.glob("*.toml"))
    if value not in known:
        raise ConfigError(f"--config {value} is neither a TOML file nor a preset; presets are {', '.join(known)}")
    return presets / f"{value}.toml"


def _options(command: click.Command) -> dict[str, click.Option]:
    """Map the written names of options, without dashes, to the options."""
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return {written.lstrip("-"): option for option in options for written in option.opts}
