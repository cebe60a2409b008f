"""Whether an engine that takes its time is alive: asked beside the call, so that long calls need no wall of seconds."""

from __future__ import annotations

import socket
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dime.host.common import console

if TYPE_CHECKING:
    from collections.abc import Mapping

    import docker
    import requests
    from urllib3.connection import HTTPConnection

BEAT_S = 5.0  # a call that takes longer makes the engine be asked, as often as that
ANSWER_S = 15.0  # for the engine to say that it is there
MISSED = 2  # questions in a row without an answer: it is gone
SAY_S = 20.0
WORDS = {  # what a call does, by how it begins
    "POST /images/load": "loading the image",
    "POST /images/create": "pulling the image",
    "DELETE /images": "removing an image",
    "POST /containers/create": "making a container",
    "DELETE /containers": "removing a container",
    "PUT /containers": "storing files",
    "DELETE /volumes": "removing a volume",
    "POST /volumes/create": "making a volume",
    "POST /containers": "starting or stopping a container",
    "GET /distribution": "asking the registry",
}


class Pulse:
    """Watches the calls of one connection; breaks it when its engine does not even answer the shortest question.

    Args:
        name: The device's name, in which is told what takes long.
        api: The engine's client; its own time limit should be long.
    """

    def __init__(self, name: str, api: docker.APIClient):
        self._name = name
        self._api: Any = api  # Any: one of its methods is replaced, and its types leave out private ones
        self._adapter = getattr(api, "_custom_adapter", None)
        self._calls: dict[int, tuple[float, str]] = {}
        self._streams: weakref.WeakSet[requests.Response] = weakref.WeakSet()
        self._connections: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._told_s = 0.0
        self._observe()

    def start(self) -> None:
        """Begins to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watches no longer."""
        self._over.set()

    def _observe(self) -> None:
        """Puts itself between the client and its calls, and remembers the connections that these take."""
        client = self._api
        send, numbers = client.send, iter(range(1 << 62))

        def watched(request: requests.PreparedRequest, **options: object) -> requests.Response:
            response: requests.Response
            if threading.current_thread() is self._thread:
                response = send(request, **options)
                return response
            number = next(numbers)
            self._calls[number] = (time.monotonic(), f"{request.method} {_path(request.path_url)}")
            try:
                response = send(request, **options)
            finally:
                del self._calls[number]
            if options.get("stream"):
                self._streams.add(response)
            return response

        client.send = watched
        adapter = self._adapter
        if adapter is None or not hasattr(adapter, "pools"):
            return
        get_connection, pools = adapter.get_connection, weakref.WeakSet[object]()

        def with_memory(url: str, proxies: Mapping[str, str] | None = None) -> object:
            pool = get_connection(url, proxies)
            if pool not in pools:
                pools.add(pool)
                make = pool._new_conn

                def remembered() -> HTTPConnection:
                    made: HTTPConnection = make()
                    self._connections.add(made)
                    return made

                pool._new_conn = remembered
            return pool

        adapter.get_connection = with_memory

    def _slow(self) -> tuple[float, str]:
        """The oldest call's age in s and what it is; 0 where none is slow."""
        now_s = time.monotonic()
        oldest = min(list(self._calls.values()), default=(now_s, ""))
        return now_s - oldest[0], oldest[1]

    def _watch(self) -> None:
        missed = 0
        while not self._over.wait(BEAT_S):
            age_s, what = self._slow()
            if age_s < BEAT_S and not any(not one.raw.closed for one in list(self._streams)):
                missed = 0
                continue
            missed = 0 if self._answers() else missed + 1
            if missed >= MISSED:
                self._break()
                missed = 0
            elif not missed and age_s >= SAY_S and time.monotonic() - self._told_s >= SAY_S:
                self._told_s = time.monotonic()
                words = next((text for start, text in WORDS.items() if what.startswith(start)), "a call")
                console.tell(f"{self._name}: {words} takes its time, {age_s:.0f} s so far; the engine is alive")

    def _answers(self) -> bool:
        client = self._api
        try:
            return bool(client.get(client._url("/_ping", versioned_api=False), timeout=ANSWER_S).ok)
        except Exception:  # whatever the network, ssh or the engine make of it
            return False

    def _break(self) -> None:
        """Ends every connection, so that the calls that wait on them end as lost."""
        if self._over.is_set():
            return
        if ssh_client := getattr(self._adapter, "ssh_client", None):
            with suppress(Exception):
                ssh_client.close()
        for connection in list(self._connections):
            with suppress(Exception):
                connection.sock.shutdown(socket.SHUT_RDWR)


def _path(url: str) -> str:
    """A call's path without the interface's version."""
    first, _, rest = url.partition("?")[0].lstrip("/").partition("/")
    return f"/{rest}" if first[:1] == "v" and first[1:2].isdigit() else f"/{first}/{rest}"
