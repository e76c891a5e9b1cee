"""Routes that move files: preupload, commit, LFS and resolve."""

import hashlib
import json

from aiohttp import web

from .access import PAGE, REPO, STORAGE, readable, writable
from .storage import Commit, HubError, is_lfs

routes = web.RouteTableDef()


@routes.post(REPO + "/preupload/{revision}")
async def preupload(request: web.Request) -> web.Response:
    """Say how each file must be sent, and which content its path has now."""
    head = writable(request).resolve(request.match_info["revision"])
    wanted = (await request.json())["files"]
    return web.json_response({"files": [_upload(head, file["path"], file["size"]) for file in wanted]})


def _upload(head: Commit, path: str, size: int) -> dict[str, str | bool]:
    lfs = is_lfs(path, size)
    answer: dict[str, str | bool] = {"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
    if present := head.files.get(path):
        answer["oid"] = present.sha256 if present.lfs else present.oid
    return answer


@routes.post(REPO + "/commit/{revision}")
async def commit(request: web.Request) -> web.Response:
    """Commit the lines of the body: a header, then one operation each; for a pull request to a branch of its own."""
    repo, branch = writable(request), request.match_info["revision"]
    page = f"{request.url.origin()}{repo.page}"
    answer = {}
    if "create_pr" in request.query:
        number = 1 + sum(name.startswith("refs/pr/") for name in repo.branches)
        answer["pullRequestUrl"] = f"{page}/discussions/{number}"
        base, branch = repo.resolve(branch), f"refs/pr/{number}"
        repo.branches[branch] = base.oid
    header, *operations = [json.loads(line) for line in (await request.text()).split("\n") if line]
    made = request.app[STORAGE].commit(repo, branch, header["value"], operations)
    return web.json_response(
        {"success": True, "commitOid": made.oid, "commitUrl": f"{page}/commit/{made.oid}", **answer}
    )


@routes.post(PAGE + ".git/info/lfs/objects/batch")
async def lfs_batch(request: web.Request) -> web.Response:
    """Say where to put each object that is not stored yet."""
    writable(request)
    objects = (await request.json())["objects"]
    for item in objects:
        if not request.app[STORAGE].blob(item["oid"]).is_file():
            href = {"href": f"{request.url.origin()}/lfs/{item['oid']}"}
            item["actions"] = {"upload": href, "verify": href}
    return web.json_response({"transfer": "basic", "objects": objects}, content_type="application/vnd.git-lfs+json")


# The three routes below need no token: like the Hub's signed addresses, a hash is known only to those who may use it.
@routes.put("/lfs/{oid:[0-9a-f]+}")
async def lfs_put(request: web.Request) -> web.Response:
    """Store an object whose content has the promised hash."""
    data = await request.read()
    if hashlib.sha256(data).hexdigest() != request.match_info["oid"]:
        raise HubError(400, "The content does not have the promised SHA-256")
    request.app[STORAGE].put(data)
    return web.Response()


@routes.post("/lfs/{oid:[0-9a-f]+}")
async def lfs_verify(request: web.Request) -> web.Response:
    """Confirm that an object has arrived."""
    blob = request.app[STORAGE].blob(request.match_info["oid"])
    if not blob.is_file() or blob.stat().st_size != (await request.json())["size"]:
        raise HubError(404, "The object is not stored")
    return web.Response()


@routes.get("/lfs/{oid:[0-9a-f]+}")
async def lfs_get(request: web.Request) -> web.Response:
    """Send an object."""
    return _content(request, request.match_info["oid"], {})


@routes.get(PAGE + "/resolve/{revision}/{path:.+}")
async def resolve(request: web.Request) -> web.Response:
    """Send a file, or the way to it if it is an LFS file."""
    repo, path = readable(request), request.match_info["path"]
    snapshot = repo.resolve(request.match_info["revision"])
    file = snapshot.files.get(path)
    if file is None:
        raise HubError(404, "Entry not found", "EntryNotFound", snapshot.oid)
    headers = {"X-Repo-Commit": snapshot.oid, "ETag": f'"{file.oid}"'}
    if not file.lfs:
        return _content(request, file.sha256, headers)
    # As a content network would be, the target is another host: a client keeps its token from it, and takes the
    # metadata from this answer.
    headers |= {
        "X-Linked-Etag": f'"{file.sha256}"',
        "X-Linked-Size": str(file.size),
        "Location": str(request.url.with_host("localhost").with_path(f"/lfs/{file.sha256}")),
    }
    return web.Response(status=302, headers=headers)


def _content(request: web.Request, sha256: str, headers: dict[str, str]) -> web.Response:
    """Answer with a blob, or the part of it that the request asks for."""
    blob = request.app[STORAGE].blob(sha256)
    if not blob.is_file():
        raise HubError(404, "The object is not stored")
    size = blob.stat().st_size
    headers["Accept-Ranges"] = "bytes"
    if "Range" not in request.headers:
        return web.Response(body=blob.read_bytes(), headers=headers)
    try:
        start, stop, _ = request.http_range.indices(size)
    except ValueError as error:
        raise HubError(416, str(error)) from error
    if start >= stop:
        raise HubError(416, f"The file has only {size} bytes")
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    with blob.open("rb") as file:
        file.seek(start)
        return web.Response(status=206, body=file.read(stop - start), headers=headers)
