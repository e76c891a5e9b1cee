"""Routes for accounts and repositories, and the application that joins all routes."""

import json
from functools import partial
from pathlib import Path

from aiohttp import web

from . import faults, files, views
from .access import ANY_REPO, KIND, REPO, STORAGE, find, namespaces, readable, require, writable
from .storage import HubError, Storage

routes = web.RouteTableDef()
json_response = partial(web.json_response, dumps=partial(json.dumps, default=str))  # YAML cards may hold dates


def application(root: Path) -> web.Application:
    """Build an empty Hub that keeps its blobs in `root`."""
    app = web.Application(middlewares=[faults.observe], client_max_size=0)
    app[STORAGE] = Storage(root)
    app[faults.FAULTS] = []
    app[faults.LOG] = []
    for table in (faults.routes, routes, files.routes):
        app.add_routes(table)
    return app


@routes.get("/api/whoami-v2")
async def whoami(request: web.Request) -> web.Response:
    """Tell the caller's user and organisations."""
    user, *organisations = namespaces(request) or ("",)
    if not user:
        raise HubError(401, "Invalid username or password.")
    return json_response(
        {
            "type": "user",
            "name": user,
            "fullname": user,
            "orgs": [{"name": name} for name in organisations],
            "auth": {"accessToken": {"displayName": "test", "role": "write"}},
        }
    )


@routes.post("/api/validate-yaml")
async def validate_yaml(request: web.Request) -> web.Response:
    """Check the metadata of a card."""
    try:
        metadata = views.front_matter((await request.json())["content"])
    except ValueError as error:
        return json_response({"errors": [{"message": str(error)}], "warnings": []}, status=400)
    warnings = [] if metadata else [{"message": "empty or missing yaml metadata in repo card"}]
    return json_response({"errors": [], "warnings": warnings})


@routes.post("/api/repos/create")
async def create_repo(request: web.Request) -> web.Response:
    """Create a repository; 409 with its address if it exists."""
    wanted = await request.json()
    kind = wanted.get("type", "model") + "s"
    namespace = wanted.get("organization") or next(iter(namespaces(request)), "")
    require(request, namespace)
    repo_id, storage = f"{namespace}/{wanted['name']}", request.app[STORAGE]
    present = storage.repos.get((kind, repo_id))
    repo = present or storage.create(kind, repo_id, private=wanted.get("visibility") == "private")
    answer = {"url": f"{request.url.origin()}{repo.page}", "name": repo_id}
    if present:
        return json_response(answer | {"error": "You already created this repository"}, status=409)
    return json_response(answer)


@routes.delete("/api/repos/delete")
async def delete_repo(request: web.Request) -> web.Response:
    """Delete a repository; its blobs stay."""
    wanted = await request.json()
    namespace = wanted.get("organization") or next(iter(namespaces(request)), "")
    require(request, namespace)
    repo = find(request, wanted.get("type", "model") + "s", f"{namespace}/{wanted['name']}")
    del request.app[STORAGE].repos[repo.kind, repo.id]
    return web.Response()


@routes.get(KIND)
async def list_repos(request: web.Request) -> web.Response:
    """List the repositories that the caller may see, filtered by author, search text and tags."""
    storage, query, granted = request.app[STORAGE], request.query, namespaces(request)
    shown = [
        views.info(storage, repo, repo.resolve("main"))
        for repo in storage.repos.values()
        if repo.kind == request.match_info["kind"]
        and (not repo.private or repo.namespace in granted)
        and query.get("author", repo.namespace) == repo.namespace
        and query.get("search", "").lower() in repo.id.lower()
    ]
    tags = set(query.getall("filter", []))
    return json_response([item for item in shown if tags <= set(item["tags"])][: int(query.get("limit", 1000))])


@routes.get(ANY_REPO)
@routes.get(REPO + "/revision/{revision}")
async def info(request: web.Request) -> web.Response:
    """Show a repository at a revision."""
    repo = readable(request)
    commit = repo.resolve(request.match_info.get("revision", "main"))
    return json_response(views.info(request.app[STORAGE], repo, commit, blobs="blobs" in request.query))


@routes.get(REPO + "/auth-check")
async def auth_check(request: web.Request) -> web.Response:
    """Tell whether the caller may see a repository."""
    readable(request)
    return web.Response()


@routes.get(REPO + "/tree/{revision}")
@routes.get(REPO + "/tree/{revision}/{path:.+}")
async def tree(request: web.Request) -> web.Response:
    """List a folder, in one page."""
    repo, query = readable(request), request.query
    commit = repo.resolve(request.match_info["revision"])
    recursive, expand = (query.get(name, "").lower() in ("true", "1") for name in ("recursive", "expand"))
    return json_response(views.tree(repo, commit, request.match_info.get("path", ""), recursive, expand))


@routes.post(REPO + "/paths-info/{revision}")
async def paths_info(request: web.Request) -> web.Response:
    """Show the given paths, leaving out those that do not exist."""
    repo, form = readable(request), await request.post()
    commit = repo.resolve(request.match_info["revision"])
    expand = str(form.get("expand", "")).lower() == "true"
    shown = (views.entry(repo, commit, str(path).rstrip("/"), expand) for path in form.getall("paths", []))
    return json_response([entry for entry in shown if entry])


@routes.get(REPO + "/refs")
async def refs(request: web.Request) -> web.Response:
    """List branches and tags."""
    return json_response(views.refs(readable(request)))


@routes.get(REPO + "/commits/{revision}")
async def commits(request: web.Request) -> web.Response:
    """List the history of a revision."""
    repo = readable(request)
    return json_response(views.commits(repo, repo.resolve(request.match_info["revision"])))


@routes.post(REPO + "/{refs:branch|tag}/{name}")
async def create_ref(request: web.Request) -> web.Response:
    """Create a branch, named in the address, or a tag, named in the body."""
    repo, wanted, name = writable(request), await request.json(), request.match_info["name"]
    if request.match_info["refs"] == "branch":
        targets, revision = repo.branches, wanted.get("startingPoint", "main")
    else:
        targets, revision, name = repo.tags, name, wanted["tag"]
    if name in targets:
        raise HubError(409, f"Reference {name!r} exists already")
    targets[name] = repo.resolve(revision).oid
    return web.Response()


@routes.delete(REPO + "/{refs:branch|tag}/{name}")
async def delete_ref(request: web.Request) -> web.Response:
    """Delete a branch or a tag."""
    repo, name = writable(request), request.match_info["name"]
    targets = repo.branches if request.match_info["refs"] == "branch" else repo.tags
    if name not in targets:
        raise HubError(404, f"Invalid rev id: {name}", "RevisionNotFound")
    del targets[name]
    return web.Response()


@routes.put(REPO + "/settings")
async def settings(request: web.Request) -> web.Response:
    """Change who may see a repository."""
    repo, wanted = writable(request), await request.json()
    repo.gated = wanted.get("gated", repo.gated)
    if "visibility" in wanted:
        repo.private = wanted["visibility"] == "private"
    return web.Response()
