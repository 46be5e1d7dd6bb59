"""Fields of request bodies: what pydantic checks, with one line for the first thing that is wrong."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from vita_demo.serving.api_error import ApiError

Model = TypeVar("Model", bound="Fields")
MAX_STOPS = 4
_MAX_SHOWN = 60
_MAX_NAMED = 20
_NOT_IN_NAMES = re.compile(r"[^\w.\[\]-]", re.ASCII)


class Fields(BaseModel):
    """An object of a body; fields that it does not know are kept, so that they can be named."""

    model_config = ConfigDict(strict=True, extra="allow")

    @property
    def unknown(self) -> list[str]:
        """Names of the fields without effect."""
        return [*(self.model_extra or {})]


def read_fields(model: type[Model], content: Any, where: str = "") -> Model:
    """Check an object of a body, which lies at ``where`` in it.

    Raises:
        ApiError: 400 for the first field that is wrong.
    """
    if not isinstance(content, Mapping):
        raise bad_request(f"{where} is {json_kind(content)}; give an object", where)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False)
        # A union has an error for each branch: what got furthest is what was meant.  The location names branches too,
        # which are no fields.
        first = max((each for each in errors if each["loc"][:1] == errors[0]["loc"][:1]), key=lambda e: len(e["loc"]))
        steps = [step for step in first["loc"] if step in content or isinstance(step, int)] or first["loc"][:1]
        param = join(where, *steps)
        given = "" if first["type"] == "missing" else f" {first['input']!r:.{_MAX_SHOWN}}"
        raise bad_request(f"{param}{given}: {first['msg'][0].lower()}{first['msg'][1:]}", param) from None


def json_kind(value: Any) -> str:
    """Name the kind of a JSON value as JSON does, with its article."""
    kinds = {bool: "a boolean", str: "a string", list: "an array", dict: "an object"}
    return "null" if value is None else kinds.get(type(value), "a number")


def join(where: str, *steps: str | int) -> str:
    """Return the place of a field: ``messages``, 0, ``content`` give ``messages[0].content``."""
    for step in steps:
        where += f"[{step}]" if isinstance(step, int) else f".{step}" if where else step
    return where


def bad_request(message: str, param: str | None, code: str | None = None) -> ApiError:
    """Return the error of a field."""
    return ApiError(400, message, param=param, code=code)


def stop_strings(stop: str | list[str] | None) -> tuple[str, ...]:
    """Return the texts that end an answer.

    Raises:
        ApiError: 400 for an empty one or too many.
    """
    stops = [stop] if isinstance(stop, str) else stop or []
    if len(stops) > MAX_STOPS or not all(stops):
        raise bad_request(f"stop has {len(stops)} texts; give up to {MAX_STOPS}, none of them empty", "stop")
    return tuple(stops)


def refuse_unsupported(content: Mapping[str, Any], harmless: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse fields that would change the answer and that nothing here carries out.

    Args:
        content: a body.
        harmless: the values of such fields that ask for nothing, beside null and what is empty.

    Raises:
        ApiError: 400 that names the first of them.
    """
    for name, values in harmless.items():
        value = content.get(name)
        if value is None or value in ([], {}, ""):
            continue
        # 0 == False, but a penalty is no switch.
        if not any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in values):
            raise bad_request(f"{name} is not supported by this model; leave it out", name, "unsupported_parameter")


def named(fields: Iterable[str]) -> tuple[str, ...]:
    """Return the first names of fields without effect as they fit into a header: ASCII, without commas and spaces."""
    return tuple(_NOT_IN_NAMES.sub("?", name[:_MAX_SHOWN]) or "?" for name in [*fields][:_MAX_NAMED])
