"""The errors that clients get: a status, and one line in OpenAI's form."""

import re
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from vita_demo.errors import CheckpointError, GenerationError, QueueFullError, VitaDemoError

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_FLAG = re.compile(r"--(?=[a-z])")
_OPTION = re.compile(r"[a-z][a-z_]*")
RETRY_AFTER_S = 2
NO_RETRY = {"x-should-retry": "false"}


class ApiError(Exception):
    """An answer other than 200.

    Args:
        status: of HTTP.
        message: one line that says what is wrong, with which value, and what to do.
        param: the field of the body that is wrong, such as ``messages[0].content``.
        code: a short name for programs.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    @property
    def content(self) -> dict[str, Any]:
        """The JSON object that clients get."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        message = " ".join(str(self).split())
        return {"error": {"message": message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """Return the whole answer."""
        return JSONResponse(self.content, self.status, self.headers)


def unavailable(message: str, code: str) -> ApiError:
    """Return the error of what works again soon."""
    return ApiError(503, message, code=code, headers={"retry-after": str(RETRY_AFTER_S)})


def defect() -> ApiError:
    """Return the error of a defect of this program; what went wrong is in the log only."""
    message = "the server failed on this request, which is a defect of it; its log says where"
    return ApiError(500, message, code="internal_error", headers=NO_RETRY)


def error_of(error: BaseException) -> ApiError:
    """Say for clients what went wrong, without the dashes of the command line's flags."""
    if isinstance(error, ApiError):
        return error
    message = _FLAG.sub("", str(error))
    if isinstance(error, QueueFullError):
        return unavailable(message, "queue_full")
    if isinstance(error, GenerationError | CheckpointError):
        return ApiError(500, message, code="generation_failed", headers=NO_RETRY)
    if isinstance(error, VitaDemoError):
        named = _OPTION.match(message)
        return ApiError(400, message, param=named[0] if named and "_" in named[0] else None)
    return defect()
