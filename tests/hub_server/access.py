"""Who may see and change what, and the address patterns from which a request's repository is read."""

from aiohttp import web

from .storage import HubError, Repo, Storage

STORAGE = web.AppKey("storage", Storage)
TOKENS = {"hf_test": ("tester", "bioscan-ml")}  # a user and the organisations it may write for

KIND = "/api/{kind:models|datasets|spaces}"
REPO = KIND + "/{repo:[^/]+/[^/]+}"
# A name without namespace belongs to no repository here, but clients ask for them.
ANY_REPO = KIND + "/{repo:[^/]+(?:/[^/]+)?}"
PAGE = "/{kind:(?:datasets/|spaces/)?}{repo:[^/]+(?:/[^/]+)?}"


def namespaces(request: web.Request) -> tuple[str, ...]:
    """Return the namespaces of the caller, its user first; none without a token."""
    header = request.headers.get("Authorization")
    if header is None:
        return ()
    if header.removeprefix("Bearer ") not in TOKENS:
        raise HubError(401, "Invalid credentials in Authorization header")
    return TOKENS[header.removeprefix("Bearer ")]


def require(request: web.Request, namespace: str) -> None:
    """Refuse callers that may not write to `namespace`."""
    granted = namespaces(request)
    if not granted:
        raise HubError(401, "Invalid username or password.")
    if namespace not in granted:
        raise HubError(403, f"You don't have the rights to write to the namespace {namespace!r}")


def find(request: web.Request, kind: str, repo_id: str) -> Repo:
    """Return a repository; for callers who may not see it, it does not exist."""
    granted = namespaces(request)
    repo = request.app[STORAGE].repos.get((kind, repo_id))
    if repo is None or (repo.private and repo.namespace not in granted):
        raise HubError(404 if granted else 401, "Repository not found", "RepoNotFound")
    return repo


def readable(request: web.Request) -> Repo:
    """Return the repository named in the address."""
    return find(request, request.match_info["kind"].rstrip("/") or "models", request.match_info["repo"])


def writable(request: web.Request) -> Repo:
    """Return the repository named in the address if the caller may change it."""
    repo = readable(request)
    require(request, repo.namespace)
    return repo
