"""Pages that may call the bridge, by their origin. And the headers that say what browsers may do with the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
REQUEST_HEADERS = "authorization, content-type, grpc-timeout, traceparent, x-correlation-id, x-grpc-web, x-user-agent"
RESPONSE_HEADERS = "grpc-status, grpc-message, grpc-status-details-bin, x-correlation-id"
PREFLIGHT_SECONDS = 600


class Origins:
    """`hosts` are the names under which the bridge listens, HOST:PORT. `allowed` are the origins of other pages."""

    def __init__(self, hosts: Sequence[str], allowed: Sequence[str]) -> None:
        self._allowed = frozenset(allowed)
        self._hosts = frozenset(host.lower() for host in hosts) | {urlsplit(one).netloc for one in allowed}

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuses requests of other pages, and those for another name: a name that an attacker lets point here would
        make this page his own."""
        origin = request.headers.get("Origin")
        if request.host.lower() not in self._hosts:
            return _refused("the Host header names another server than this one")
        own = origin is not None and urlsplit(origin).netloc == request.host.lower()
        if origin is not None and not own and origin not in self._allowed:
            return _refused("the page that calls is not of an origin that --allow-origin names")
        if request.method != "OPTIONS":
            return await handler(request)
        preflight = {
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": REQUEST_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        return web.Response(status=204, headers=preflight)

    async def prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Runs before the headers of any response leave, a refusal's too."""
        origin = request.headers.get("Origin")
        response.headers.update(HEADERS)
        response.headers["Vary"] = "Origin"
        if origin in self._allowed:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = RESPONSE_HEADERS


def _refused(why: str) -> web.Response:
    return web.Response(status=403, text=f"{why}\n")
