"""Callbacks by name: ``NAME[:key=value,…]``, ``package.module:Class`` and ``./file.py:Class``."""

import difflib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from runpy import run_path
from types import SimpleNamespace
from typing import Any

from vita_demo.callbacks import builtin
from vita_demo.errors import ConfigError
from vita_demo.generation.callbacks import GenerationCallback

BUILTIN: Mapping[str, type[GenerationCallback]] = {
    "logging": builtin.LoggingCallback,
    "progress": builtin.ProgressCallback,
    "performance": builtin.PerformanceCallback,
    "memory": builtin.MemoryCallback,
    "trace": builtin.TraceCallback,
    "file": builtin.FileCallback,
}
# Parameters that the program fills in, not the user.
_INTERNAL = ("tokenizer", "display")


def make_callback(spec: str, given: Mapping[str, Any] | None = None) -> GenerationCallback:
    """Build the callback that ``spec`` names.

    Args:
        spec: for example ``trace:path=run.jsonl,top=3`` or ``./mine.py:Watcher:level=2``.
        given: values for parameters of these names that ``spec`` does not set, such as ``tokenizer``.

    Raises:
        ConfigError: when the name, an option or a value is wrong.
    """
    name, _, rest = spec.partition(":")
    if name in BUILTIN:
        kind = BUILTIN[name]
    else:
        class_name, _, rest = rest.partition(":")
        kind = _load_class(spec, name, class_name)
    values = _parse(spec, rest, kind)
    parameters = inspect.signature(kind).parameters
    values = {key: value for key, value in (given or {}).items() if key in parameters} | values
    with _one_line(f"--callback {spec} cannot be made", "see vita-demo callbacks"):
        return kind(**values)


def describe() -> str:
    """List the built-in callbacks with their options, and how to name one's own."""
    lines = []
    for name, kind in BUILTIN.items():
        lines.append(f"{name:12} {(inspect.getdoc(kind) or '').splitlines()[0]}")
        lines += [f"{'':14}{key}={parameter.default}" for key, parameter in options_of(kind).items()]
    lines += [
        "",
        "--callback trace:path=run.jsonl,top=3",
        "--callback package.module:Class",
        "--callback ./mine.py:Class:key=value",
    ]
    return "\n".join(lines)


def options_of(kind: type[GenerationCallback]) -> dict[str, inspect.Parameter]:
    """Return the options that a user can set."""
    parameters = inspect.signature(kind).parameters
    return {name: parameter for name, parameter in parameters.items() if name not in _INTERNAL}


def _parse(spec: str, text: str, kind: type[GenerationCallback]) -> dict[str, Any]:
    options, values = options_of(kind), {}
    for item in filter(None, text.split(",")):
        key, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"--callback {spec}: {item!r} has no value; write key=value")
        if key not in options:
            raise ConfigError(
                f"--callback {spec}: {key} is none of its options ({', '.join(options) or 'it has none'})"
            )
        values[key] = _convert(spec, key, value, options[key])
    return values


def _convert(spec: str, key: str, value: str, parameter: inspect.Parameter) -> Any:
    kinds = [kind for kind in (bool, int, float) if kind.__name__ in str(parameter.annotation)]
    if not kinds or parameter.annotation is inspect.Parameter.empty:
        return value
    if kinds[0] is bool:
        return value.lower() in ("1", "true", "yes", "on")
    try:
        return kinds[0](value)
    except ValueError:
        raise ConfigError(f"--callback {spec}: {key}={value} must be a number") from None


def _load_class(spec: str, module_name: str, class_name: str) -> type[GenerationCallback]:
    if not class_name:
        near = difflib.get_close_matches(module_name, BUILTIN, n=1)
        hint = f"did you mean {near[0]}?" if near else f"give {', '.join(BUILTIN)} or package.module:Class"
        raise ConfigError(f"--callback {spec} is unknown; {hint}")
    with _one_line(f"--callback {spec}: {module_name} cannot be imported", "check the module"):
        is_file = module_name.endswith(".py")
        # Not as a module, so that a file named logging.py stands in nobody's way.
        module = SimpleNamespace(**run_path(module_name)) if is_file else import_module(module_name)
    kind = getattr(module, class_name, None)
    if kind is None:
        raise ConfigError(f"--callback {spec}: {module_name} has no {class_name}; check the name")
    if not isinstance(kind, type):
        raise ConfigError(f"--callback {spec}: {class_name} is no class; give a subclass of GenerationCallback")
    return kind


@contextmanager
def _one_line(what: str, advice: str) -> Iterator[None]:
    """Turn whatever a user's code raises, ``SystemExit`` too, into one line that says what failed."""
    try:
        yield
    except (Exception, SystemExit) as error:
        message = " ".join(str(error).split()) or "no message"
        raise ConfigError(f"{what} ({type(error).__name__}: {message}); {advice}") from error
