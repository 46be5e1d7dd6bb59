"""The parts of a message: text, and media in the forms of OpenAI, vLLM, SGLang and llama.cpp."""

from collections.abc import Mapping
from typing import Any, Literal

from vita_demo.errors import InputError
from vita_demo.request import Sampling
from vita_demo.serving.api_error import error_of
from vita_demo.serving.fields import Fields, bad_request, join, json_kind, read_fields
from vita_demo.serving.query import Attachment, Kind

MAX_FRAMES = 64
MAX_PICTURES = 16
MAX_ATTACHMENTS = 64
_MEDIA: Mapping[str, tuple[Kind, str]] = {
    "image_url": ("image", "url"),
    "input_image": ("image", "image_url"),
    "audio_url": ("audio", "url"),
    "input_audio": ("audio", "data"),
    "video_url": ("video", "url"),
    "input_video": ("video", "data"),
}
"""Types of parts, with what they hold and the field for it."""
_TEXTS = ("text", "input_text", "output_text")


class _Text(Fields):
    type: str
    text: str


class SamplingFields(Fields):
    """Which frames of a video, as whole requests and single parts say it."""

    fps: float | None = None
    max_frames: int | None = None
    start: float | None = None
    end: float | None = None


class _Medium(SamplingFields):
    url: str | None = None
    data: str | None = None
    image_url: str | None = None
    format: str | None = None
    detail: Literal["auto", "low", "high", "original"] | None = None


class PartReader:
    """Reads the parts of all messages of one request.

    Args:
        defaults: the request's own ``fps``, ``max_frames``, ``start`` and ``end``, which a part's win over.

    Attributes:
        ignored: places of fields without effect.
    """

    def __init__(self, defaults: SamplingFields) -> None:
        self._defaults = defaults
        self._counts: dict[Kind, int] = {"image": 0, "video": 0, "audio": 0}
        self.ignored: list[str] = []

    def read(self, content: Any, where: str) -> tuple[str, tuple[Attachment, ...]]:
        """Return a message's text and its media.

        Raises:
            ApiError: 400 for parts that nothing here can read.
        """
        if isinstance(content, str):
            return content, ()
        if not isinstance(content, list):
            raise bad_request(f"{where} is {json_kind(content)}; give a text or a list of parts", where)
        texts, attachments = [], []
        for number, part in enumerate(content):
            place = join(where, number)
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in _TEXTS:
                text = read_fields(_Text, part, place)
                self._ignore(text, place)
                texts.append(text.text)
            elif isinstance(kind, str) and kind in _MEDIA:
                attachments.append(self._attachment(part, kind, place))
            else:
                known = ", ".join((*_TEXTS, *_MEDIA))
                raise bad_request(
                    f"{place} has the type {kind!r:.60}, which is not supported; parts are {known}",
                    join(place, "type"),
                    "unsupported_part",
                )
        return "\n".join(texts), tuple(attachments)

    def _attachment(self, part: dict[str, Any], kind: str, place: str) -> Attachment:
        medium, field = _MEDIA[kind]
        inner, where = (part, place) if kind == "input_image" else (part.get(kind), join(place, kind))
        if isinstance(inner, str):
            inner = {field: inner}
        values = read_fields(_Medium, inner, where)
        self._ignore(values, where)
        source = getattr(values, field) or values.url or values.data
        if not source:
            raise bad_request(f"{where} has no {field}; give a data URL or base64", join(where, field))
        self._count(medium, place)
        return Attachment(medium, source, where, values.detail == "low", self.sampling(values, where))

    def sampling(self, own: SamplingFields, where: str) -> Sampling:
        """Return which frames of a video are seen.

        Raises:
            ApiError: 400 for values out of range.
        """
        chosen = {
            name: value
            for name in ("fps", "max_frames", "start", "end")
            for value in (getattr(own, name) if getattr(own, name) is not None else getattr(self._defaults, name),)
            if value is not None
        }
        if chosen.get("max_frames", 1) > MAX_FRAMES:
            param = join(where, "max_frames")
            raise bad_request(f"max_frames {chosen['max_frames']} is over {MAX_FRAMES}; ask for fewer", param)
        names = {"start": "start_s", "end": "end_s"}
        try:
            return Sampling(**{names.get(name, name): value for name, value in chosen.items()})
        except InputError as error:
            message = str(error_of(error))
            raise bad_request(message, join(where, message.split(maxsplit=1)[0])) from None

    def _count(self, kind: Kind, place: str) -> None:
        self._counts[kind] += 1
        if self._counts["image"] > MAX_PICTURES:
            raise bad_request(f"there are more than {MAX_PICTURES} pictures; leave some out", place)
        if sum(self._counts.values()) > MAX_ATTACHMENTS:
            raise bad_request(f"there are more than {MAX_ATTACHMENTS} media; leave some out", place)

    def _ignore(self, fields: Fields, where: str) -> None:
        # input_image keeps the part's own type beside its fields.
        self.ignored += [join(where, name) for name in fields.unknown if name != "type"]
