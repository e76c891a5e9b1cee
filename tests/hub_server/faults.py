"""The request log of the local Hub, and faults that tests ask for."""

import asyncio
import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from .storage import HubError

routes = web.RouteTableDef()


@dataclass
class Fault:
    """Requests that shall fail: those whose method (any if empty) and path match, `times` after the first `after`.

    Nothing is done, and `status` is answered, with `retry_after` in a header if it is given. But with `done` the
    request is carried out before that; with `cut` it is carried out, and the connection is closed halfway through the
    answer; with `drop` it is closed halfway through the request; with `delay` it is carried out so many seconds later.
    """

    method: str
    path: str
    status: int = 500
    times: int = 1
    after: int = 0
    retry_after: int | None = None
    done: bool = False
    cut: bool = False
    drop: bool = False
    delay: float = 0.0
    kill: int = 0

    def strikes(self, request: web.Request) -> bool:
        """Tell whether this request shall fail, and count it."""
        if self.method not in ("", request.method) or not re.search(self.path, request.path) or not self.times:
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        return True


FAULTS = web.AppKey("faults", list[Fault])
LOG = web.AppKey("log", list[dict[str, Any]])


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log each request, answer refusals in the Hub's form and inject faults."""
    if request.path.startswith("/_"):
        return await handler(request)
    fault = next((fault for fault in request.app[FAULTS] if fault.strikes(request)), None)
    try:
        response = await _answer(request, handler, fault)
    except HubError as error:
        response = web.json_response({"error": error.message}, status=error.status, headers=error.headers)
    except web.HTTPException as error:
        response = web.json_response({"error": error.reason}, status=error.status)
    request.app[LOG].append({"method": request.method, "path": request.path, "status": response.status})
    return await _cut(request, response) if fault and fault.cut else response


async def _answer(request: web.Request, handler: Handler, fault: Fault | None) -> web.StreamResponse:
    if fault is None or fault.cut:
        return await handler(request)
    if fault.drop:
        await request.content.read((request.content_length or 0) // 2)
        if request.transport:
            request.transport.abort()
        return web.Response(status=499)  # of which nobody hears
    if fault.delay:
        await asyncio.sleep(fault.delay)
        return await handler(request)
    if fault.done:
        await handler(request)
    if fault.kill:
        with suppress(ProcessLookupError):
            os.killpg(fault.kill, signal.SIGKILL)
    error = HubError(fault.status, "Injected fault")
    if fault.retry_after is not None:
        error.headers["Retry-After"] = str(fault.retry_after)
    raise error


async def _cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Send half of the body, or nothing at all if there is none, and close the connection."""
    body = response.body if isinstance(response, web.Response) and isinstance(response.body, bytes) else b""
    half = web.StreamResponse(status=response.status, headers=response.headers)
    if body and request.method != "HEAD":
        half.content_length = len(body)
        await half.prepare(request)
        await half.write(body[: len(body) // 2])
    if request.transport:
        request.transport.close()
    return half


@routes.post("/_faults")
async def add_fault(request: web.Request) -> web.Response:
    """Add a fault; the body has the fields of `Fault`."""
    request.app[FAULTS].append(Fault(**await request.json()))
    return web.Response()


@routes.delete("/_faults")
async def clear_faults(request: web.Request) -> web.Response:
    """Forget all faults."""
    request.app[FAULTS].clear()
    return web.Response()


@routes.get("/_requests")
async def requests(request: web.Request) -> web.Response:
    """Return all requests so far, oldest first."""
    return web.json_response(request.app[LOG])
