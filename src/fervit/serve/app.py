"""The service as an ASGI app."""

import asyncio
import functools
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, WebSocket
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from fervit import __version__
from fervit.media.style.colours import hexadecimal, on_light, palette
from fervit.serve import problems, schemas
from fervit.serve.engine import Engine
from fervit.serve.guard import Guard
from fervit.serve.metrics import Metrics
from fervit.serve.problems import Problem
from fervit.serve.settings import Settings
from fervit.serve.stream import TRY_AGAIN_LATER, stream
from fervit.serve.transport.proxies import PREFIX, Proxied
from fervit.serve.uploads import RAW_TYPES, Buffered, read_body, uploaded_images

DESCRIPTION = (
    "Finds faces and predicts which expression each shows: what a face shows, not what a person feels. "
    "Images are decoded in memory and kept nowhere."
)
Crop = Annotated[bool, Query(description="the image is a face crop already: do not detect")]


def create_app(settings: Settings, engine: Engine | None = None) -> ASGIApp:
    """Return the service, guarded; the model is loaded here, processes start with its lifespan.

    Args:
        settings: checked already.
        engine: one of your own, or None.

    Raises:
        ModelError: the model is missing or cannot be read.
        DetectorError: the detector is unknown or not installed.
    """
    engine = engine or Engine(settings, Metrics())
    app = FastAPI(
        title="fervit",
        version=__version__,
        description=DESCRIPTION,
        lifespan=functools.partial(_lifespan, engine),
        redirect_slashes=False,  # the address to redirect to would be taken from the Host header
        docs_url=None,  # FastAPI's own page loads its scripts from elsewhere; ours is one of the page's files
        redoc_url=None,
        openapi_url=None,  # `_add_document` serves it, with the prefix that a proxy says
    )
    problems.install(app, engine.metrics.refused)
    _add_predictions(app, engine, settings)
    _add_stream(app, engine, settings)
    _add_model(app, engine, settings)
    _add_health(app, engine)
    page = _add_page(app)
    _add_document(app, bool(settings.token))
    paths = frozenset(route.path for route in app.routes if hasattr(route, "path"))
    guarded: ASGIApp = Guard(app, settings, engine.metrics, page, paths)
    if settings.allow_origins:
        guarded = _with_cors(guarded, settings.allow_origins)
    return Proxied(guarded, settings.trusted_proxies, settings.root_path, paths)


@asynccontextmanager
async def _lifespan(engine: Engine, _: FastAPI) -> AsyncIterator[None]:
    await engine.start()
    try:
        yield
    finally:
        await engine.close()


def _with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type"],
        expose_headers=["retry-after"],
        max_age=600,
    )


def _add_predictions(app: FastAPI, engine: Engine, settings: Settings) -> None:
    buffered = Buffered(settings.max_buffered)
    raw = {kind: schemas.RAW for kind in RAW_TYPES}

    @app.post(
        "/v1/predict",
        tags=["predict"],
        summary="What every face in one image shows",
        response_model=schemas.Picture,
        responses=_refusals(400, 408, 413, 415, 422, 503),
        openapi_extra={"requestBody": {"required": True, "content": {**schemas.bodies("image", many=False), **raw}}},
    )
    async def predict(request: Request, crop: Crop = False) -> Response:
        async with read_body(request, buffered, settings, settings.max_body) as data:
            image = uploaded_images(request, data, name="image", most=1, limit=settings.max_body)[0]
            with engine.admitted():
                found = await engine.predict(image, crop=crop)
        return JSONResponse({"model": engine.model_id, **found})

    @app.post(
        "/v1/predict/batch",
        tags=["predict"],
        summary="What every face in several images shows",
        response_model=schemas.Batch,
        response_model_exclude_none=True,
        responses=_refusals(400, 408, 413, 415, 422, 503),
        openapi_extra={"requestBody": {"required": True, "content": schemas.bodies("images", many=True)}},
    )
    async def predict_batch(request: Request, crop: Crop = False) -> Response:
        async with read_body(request, buffered, settings, settings.max_batch_body) as data:
            limit = settings.max_batch_body
            batch = uploaded_images(request, data, name="images", most=settings.max_images, limit=limit)
            with engine.admitted(len(batch)):
                rows = await _gather(engine, batch, crop)
        return JSONResponse({"model": engine.model_id, "results": rows})


def _add_stream(app: FastAPI, engine: Engine, settings: Settings) -> None:
    streams = 0

    @app.websocket("/v1/stream")
    async def live(socket: WebSocket) -> None:
        nonlocal streams
        if streams >= settings.max_streams:
            await socket.accept()
            await socket.close(TRY_AGAIN_LATER, f"at most {settings.max_streams} streams")
            return
        streams += 1
        engine.metrics.streams.inc()
        try:
            await stream(socket, engine)
        finally:
            streams -= 1
            engine.metrics.streams.dec()


async def _gather(engine: Engine, batch: list[bytes], crop: bool) -> list[dict[str, object]]:
    async def row(index: int, data: bytes) -> dict[str, object]:
        try:
            return {"index": index, **await engine.predict(data, crop=crop)}
        except Problem as problem:
            engine.metrics.refused(problem.kind)
            return {"index": index, "error": problem.to_dict()}

    return list(await asyncio.gather(*(row(index, data) for index, data in enumerate(batch))))


def _add_model(app: FastAPI, engine: Engine, settings: Settings) -> None:
    chosen = palette(tuple(engine.spec.labels))
    colours = {label: {"dark": hexadecimal(c), "light": hexadecimal(on_light(c))} for label, c in chosen.items()}

    @app.get("/v1/model", tags=["about"], summary="The model and the limits", response_model=schemas.Model)
    async def model() -> Response:
        limits = {
            "max_body": settings.max_body,
            "max_batch_body": settings.max_batch_body,
            "max_images": settings.max_images,
            "max_pixels": settings.max_pixels,
            "max_faces": settings.max_faces,
            "formats": settings.formats,
        }
        spec = asdict(engine.spec)
        about = {"id": engine.model_id, "spec": spec, "colours": colours, "card": engine.card, "limits": limits}
        return JSONResponse(about | {"fallback": engine.fallback})


def _add_health(app: FastAPI, engine: Engine) -> None:
    @app.get("/healthz", tags=["health"], summary="Whether the process lives", response_model=schemas.Health)
    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get(
        "/readyz",
        tags=["health"],
        summary="Whether images are taken",
        response_model=schemas.Health,
        responses=_refusals(503),
    )
    async def readyz() -> Response:
        if not engine.ready:
            raise problems.busy("the service starts or ends", 1)
        return JSONResponse({"status": "ready"} | ({"fallback": engine.fallback} if engine.fallback else {}))

    @app.get(
        "/metrics",
        tags=["health"],
        summary="Prometheus metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        body, kind = engine.metrics.render()
        return Response(body, headers={"content-type": kind})


def _add_page(app: FastAPI) -> frozenset[str]:
    """Serve the page's files, read once, each at its own fixed path; return these paths."""
    folder = files("fervit.serve").joinpath("page")
    paths = set()
    for file in folder.iterdir():
        if not file.is_file():
            continue
        path = {"index.html": "/", "docs.html": "/docs"}.get(file.name, f"/page/{file.name}")
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        kind = "text/javascript" if file.name.endswith(".js") else kind
        app.add_api_route(path, _file(file.read_bytes(), kind), methods=["GET", "HEAD"], include_in_schema=False)
        paths.add(path)
    return frozenset(paths)


def _file(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    return send


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses for what a route refuses itself; the guard's own are in every route."""
    schema = {"$ref": "#/components/schemas/ProblemRow"}
    reasons = {s: [title for status, title in problems.KINDS.values() if status == s] for s in statuses}
    return {
        status: {"description": "; ".join(titles), "content": {problems.MEDIA_TYPE: {"schema": schema}}}
        for status, titles in reasons.items()
    }


def _add_document(app: FastAPI, has_token: bool) -> None:
    """Serve the OpenAPI document; behind a path prefix, `servers` names it."""
    _add_problem_schema(app, has_token)
    document = app.openapi()

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        prefix = request.scope.get(PREFIX, "")
        return JSONResponse({**document, "servers": [{"url": prefix}]} if prefix else document)


def _add_problem_schema(app: FastAPI, has_token: bool) -> None:
    """Complete the OpenAPI document by what FastAPI does not see: the guard's responses, and the token."""
    document = app.openapi()
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["ProblemRow"] = schemas.ProblemRow.model_json_schema()
    guarded = (400, 403, 421, 429, *((401,) if has_token else ()))
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if path in ("/healthz", "/readyz"):
                extra: tuple[int, ...] = (400, 403, 421)
            else:
                extra = guarded
                if has_token:
                    operation["security"] = [{"bearer": []}]
            operation["responses"] |= {str(k): v for k, v in _refusals(*extra).items()}
    if has_token:
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
