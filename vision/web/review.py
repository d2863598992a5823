"""The page of `vision data review` and its server: this machine only, and only whoever has the address.

Every path begins with a random token, so no other site can read or write (a form elsewhere does not know it), and the
Host header is checked, so no name that an attacker lets point to 127.0.0.1 leads here. Pictures are sent by row number,
made anew as JPEG; no path comes from a request.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files
from threading import Lock
from typing import Annotated

import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from vision.data.reviewing.decisions import UNKNOWN_CLASS, Verdict
from vision.errors import ImageError, OutputError, ReviewError, UsageError, VisionError
from vision.pages import page_environment
from vision.taxonomy import Taxonomy
from vision.web.review_session import CODES, ReviewSession

HOST = "127.0.0.1"
MAX_ITEMS = 64
"""Pictures described in one answer."""

SCRIPT = "review_images.js"
_STATUS: dict[type[Exception], int] = {ImageError: 422, ReviewError: 422, OutputError: 507}


class _Asked(BaseModel):
    """What the page sends to change something; a request that comes twice is carried out once."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(max_length=64)


class _Decided(_Asked):
    position: int = Field(ge=0)
    decision: Verdict
    class_id: str = Field(default=UNKNOWN_CLASS, max_length=64)
    note: str = Field(default="", max_length=2000)


def new_token() -> str:
    """What the address of a sitting begins with."""
    return secrets.token_urlsafe(24)


def build_review_app(session: ReviewSession, token: str) -> FastAPI:
    """The server's application."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(_router(session), prefix=f"/{token}")
    app.middleware("http")(_with_safe_headers)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False)
    app.add_exception_handler(VisionError, _told)
    app.add_exception_handler(StarletteHTTPException, _refused)
    return app


def open_listener(port: int) -> socket.socket:
    """A socket on this machine alone; port 0 takes a free one.

    Raises:
        UsageError: The port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        remedy = "choose another with --port, or leave it out"
        raise UsageError(f"--port {port}: cannot be used ({error.strerror}); {remedy}") from error
    listener.listen()
    return listener


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Answer until Ctrl-C, which is raised again when all is closed."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=2
    )
    uvicorn.Server(config).run(sockets=[listener])


def _router(session: ReviewSession) -> APIRouter:
    router = APIRouter()
    answered: dict[str, dict[str, object]] = {}  # of this sitting, by request
    answering = Lock()  # a request that comes again before it is answered waits for that answer

    @router.get("/")
    def page(request: Request) -> HTMLResponse:
        return HTMLResponse(_render_page(session, request.state.nonce))

    @router.get(f"/{SCRIPT}")
    def script() -> Response:
        return Response(_script(), media_type="text/javascript; charset=utf-8")

    @router.get("/items")
    def items(position: Annotated[list[int], Query(max_length=MAX_ITEMS)]) -> list[dict[str, object]]:
        return [session.describe(_checked(session, each)) for each in position]

    @router.get("/pictures/{row}")
    def picture(row: int) -> Response:
        position = session.position_of_row(row)
        if position is None:
            raise HTTPException(404, f"row {row} is not in this review")
        shown = session.show(position)
        headers = {"Cache-Control": "private, max-age=3600", "X-Digest": shown.sha256}
        return Response(shown.jpeg, media_type="image/jpeg", headers=headers)

    @router.post("/decisions")
    def decide(asked: _Decided) -> dict[str, object]:
        with answering:
            if asked.request_id not in answered:
                position = _checked(session, asked.position)
                if asked.decision is Verdict.UNDO:
                    raise HTTPException(422, "undo has an address of its own")
                session.decide(position, asked.decision, class_id=asked.class_id, note=asked.note)
                answered[asked.request_id] = session.describe(position)
            return answered[asked.request_id]

    @router.post("/undo")
    def undo(asked: _Asked) -> dict[str, object]:
        with answering:
            if asked.request_id not in answered:
                position = session.undo()
                answered[asked.request_id] = {} if position is None else session.describe(position)
            return answered[asked.request_id]

    return router


def _checked(session: ReviewSession, position: int) -> int:
    if not 0 <= position < session.num_pictures:
        raise HTTPException(404, f"position {position} is not in this review of {session.num_pictures} pictures")
    return position


async def _with_safe_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    request.state.nonce = secrets.token_urlsafe(16)
    response = await call_next(request)
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; img-src 'self' data:; connect-src 'self'; script-src 'self'; "
        f"style-src 'nonce-{request.state.nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"  # the address holds the token
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _told(request: Request, error: Exception) -> Response:
    """What the user can mend, as the page shows it."""
    return JSONResponse({"detail": str(error)}, _STATUS.get(type(error), 400))


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    if error.detail == "Not Found":
        return PlainTextResponse("Not here. Open the address that `vision data review` printed, all of it.", 404)
    return JSONResponse({"detail": error.detail}, error.status_code)


@cache
def _script() -> str:
    return files("vision.web").joinpath("templates", SCRIPT).read_text(encoding="utf-8")


def _render_page(session: ReviewSession, nonce: str) -> str:
    template = page_environment("vision.web").get_template("review.html.j2")
    page_data = {
        "codes": session.codes,
        "labels": _label_numbers(session),
        "again": session.again,
        "decisions": {code: decision.value for decision, code in CODES.items()},
        "order": session.taxonomy.class_ids,  # JSON objects do not keep it
        "classes": _described_classes(session.taxonomy),
    }
    title = session.manifest.folder.resolve().name
    return template.render(data=page_data, nonce=nonce, script=SCRIPT, title=title, num_pictures=session.num_pictures)


def _label_numbers(session: ReviewSession) -> dict[str, object]:
    """Labels in the order in which they come first, and the number of that of each position."""
    labels = session.labels
    ids = list(dict.fromkeys(labels))
    number = {label: place for place, label in enumerate(ids)}
    return {"ids": ids, "of": [number[label] for label in labels]}


def _described_classes(taxonomy: Taxonomy) -> dict[str, object]:
    alike: dict[str, list[dict[str, object]]] = {class_id: [] for class_id in taxonomy.class_ids}
    for pair in taxonomy.look_alikes:
        for one, other in (pair.classes, pair.classes[::-1]):
            alike[one].append({"id": other, "cues": [str(cue) for cue in pair.cues]})
    return {
        class_id: {
            "name": taxonomy.name(class_id),
            "names": list(vehicle.names),
            "family": taxonomy.name(vehicle.family),
            "role": taxonomy.name(taxonomy.role_id(class_id)),
            "cues": [str(cue) for cue in vehicle.cues],
            "alike": alike[class_id],
        }
        for class_id, vehicle in ((class_id, taxonomy.vehicle_class(class_id)) for class_id in taxonomy.class_ids)
    }
