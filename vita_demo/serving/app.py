"""The endpoints: which path does what."""

from dataclasses import replace
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from vita_demo.serving.answer_response import AnswerResponse
from vita_demo.serving.api_error import ApiError, defect
from vita_demo.serving.body import BodyReader
from vita_demo.serving.chat_answer import ChatAnswer
from vita_demo.serving.chat_body import read_chat
from vita_demo.serving.guard import Guard
from vita_demo.serving.guide import GuideAnswer, read_guide
from vita_demo.serving.keys import Keys
from vita_demo.serving.own_answer import OwnAnswer
from vita_demo.serving.page import Page
from vita_demo.serving.responses_answer import ResponsesAnswer
from vita_demo.serving.responses_body import read_responses
from vita_demo.serving.server_options import ServerOptions
from vita_demo.serving.service import Service


def make_app(service: Service, options: ServerOptions, keys: Keys) -> ASGIApp:
    """Return the application with all endpoints, behind the guard."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    page = Page(options.page)
    _add_answers(app, service, BodyReader(options.max_body_bytes))
    _add_state(app, service)
    app.get("/")(page.response)
    app.add_exception_handler(ApiError, _of_api_error)
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_exception_handler(Exception, _of_defect)
    return Guard(app, options, keys, service.metrics)


def _add_answers(app: FastAPI, service: Service, bodies: BodyReader) -> None:
    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        service.check_ready()
        query = read_chat(await bodies.read(request))
        form = ChatAnswer(service.info.name, query.usage_asked, service.logprobs_for(query))
        return AnswerResponse(service, query, form, request.state.owner)

    @app.post("/v1/responses")
    async def responses(request: Request) -> Response:
        service.check_ready()
        query, body = read_responses(await bodies.read(request))
        form = ResponsesAnswer(service.info.name, body, service.logprobs_for(query))
        return AnswerResponse(service, query, form, request.state.owner)

    @app.post("/generate")
    async def generate(request: Request) -> Response:
        service.check_ready()
        query = read_guide(await bodies.read(request))
        return AnswerResponse(service, query, GuideAnswer(), request.state.owner)

    @app.post("/ask")
    async def ask(request: Request) -> Response:
        about = service.check_ready().about
        query = replace(read_chat(await bodies.read(request)), stream=True)
        return AnswerResponse(service, query, OwnAnswer(about), request.state.owner)

    @app.post("/v1/chat/completions/{answer_id}/cancel")
    async def cancel(answer_id: str, request: Request) -> dict[str, Any]:
        service.cancel(answer_id, request.state.owner)
        return {"id": answer_id, "object": "chat.completion.cancelled", "cancelled": True}


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [service.info.to_dict()]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        service.check_model(name)
        return service.info.to_dict()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        service.check_ready()
        return {"status": "ready"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _of_api_error(_: Request, error: Exception) -> JSONResponse:
    return error.response() if isinstance(error, ApiError) else defect().response()


async def _of_framework(request: Request, error: Exception) -> JSONResponse:
    status = getattr(error, "status_code", 500)
    path = request.url.path[:100]
    if status == 405:
        message = f"{request.method[:20]} is not for {path!r}"
    else:
        message = f"there is no {path!r}; the endpoints are listed in docs/serving.md"
    return ApiError(status, message, code="not_found", headers=getattr(error, "headers", None)).response()


async def _of_defect(_: Request, __: Exception) -> JSONResponse:
    return defect().response()
