"""The request log of the local Hub, and faults that tests ask for."""

import re
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from .storage import HubError

routes = web.RouteTableDef()


@dataclass
class Fault:
    """Requests that shall fail: those whose method and path match, `times` of them after the first `after`.

    With `cut` the request is carried out, but the connection is closed halfway through the answer.
    Otherwise nothing is done and `status` is answered.
    """

    method: str
    path: str
    status: int = 500
    times: int = 1
    after: int = 0
    cut: bool = False

    def strikes(self, request: web.Request) -> bool:
        """Tell whether this request shall fail, and count it."""
        if request.method != self.method or not re.search(self.path, request.path) or not self.times:
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
        if fault and not fault.cut:
            raise HubError(fault.status, "Injected fault")
        response = await handler(request)
    except HubError as error:
        response = web.json_response({"error": error.message}, status=error.status, headers=error.headers)
    except web.HTTPException as error:
        response = web.json_response({"error": error.reason}, status=error.status)
    request.app[LOG].append({"method": request.method, "path": request.path, "status": response.status})
    return await _cut(request, response) if fault and fault.cut else response


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
