"""A real HTTP server on this machine that speaks OpenAI's chat protocol, well or badly."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Request = dict[str, Any]
Behaviour = Callable[["Handler", Request], None]


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the server's behaviour and keeps it."""

    protocol_version = "HTTP/1.1"
    server: ChatServer

    def log_message(self, *args: Any) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        server = self.server
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            server.requests.append(request)
            server.keys.append(self.headers.get("authorization"))
            server.open += 1
            server.most_open = max(server.most_open, server.open)
        try:
            server.behave(self, request)
        except OSError:
            self.close_connection = True  # The client has given up.
        finally:
            with server.lock:
                server.open -= 1

    def send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        """Sends a whole response."""
        self.send_response(status)
        for key, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def say(self, text: str | None) -> None:
        """Sends a completion."""
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        self.send(200, json.dumps(body).encode())


class ChatServer(ThreadingHTTPServer):
    """Serves until the `with` block ends.

    Attributes:
        requests: all that came, in order.
        keys: their authorization headers.
        most_open: requests that were answered at one time, at most.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, behave: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave = behave
        self.requests: list[Request] = []
        self.keys: list[str | None] = []
        self.open = self.most_open = 0
        self.lock = threading.Lock()
        self.over = threading.Event()

    @property
    def url(self) -> str:
        """The endpoint's base_url."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *args: Any) -> None:
        """Says nothing: clients hang up here on purpose."""

    def __enter__(self) -> ChatServer:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *args: Any) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()


def words(request: Request) -> str:
    """The text of a request's last message."""
    content = request["messages"][-1]["content"]
    return content if isinstance(content, str) else next(p["text"] for p in content if p["type"] == "text")


def pictures(request: Request) -> list[str]:
    """The data URLs of a request's last message."""
    content = request["messages"][-1]["content"]
    return [part["image_url"]["url"] for part in content if part["type"] == "image_url"]


def filled(request: Request, word: str = "yes") -> str:
    """The form that a judge's prompt ends with, every answer filled in with one word."""
    text = words(request)
    tags = re.findall(r"^<(answer\w*)>", text, re.MULTILINE)
    return "I looked.\n" + "\n".join(f"<{tag}>{word}</{tag}>" for tag in dict.fromkeys(tags))


def agrees(handler: Handler, request: Request) -> None:
    """Says yes to everything."""
    handler.say(filled(request))


def stalls(handler: Handler, request: Request) -> None:
    """Never answers."""
    handler.server.over.wait(20)


def trickles(handler: Handler, request: Request) -> None:
    """Begins an answer and never ends it, a byte at a time."""
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", "100000")
    handler.end_headers()
    while not handler.server.over.wait(0.02):
        handler.wfile.write(b" ")


def cuts_the_line(handler: Handler, request: Request) -> None:
    """Hangs up in the middle of an answer."""
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def slowly(handler: Handler, request: Request) -> None:
    """Agrees after a moment."""
    time.sleep(0.05)
    agrees(handler, request)


def says(text: str | None) -> Behaviour:
    """Says the same to everything."""
    return lambda handler, request: handler.say(text)


def sends(status: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> Behaviour:
    """Sends the same to everything; retries are asked for at once."""
    return lambda handler, request: handler.send(status, body, kind, **{"retry_after_ms": "1", **headers})


def first(behaviour: Behaviour, times: int = 1) -> Behaviour:
    """One behaviour for the first `times` requests with the same words and seed, then agrees."""
    seen: dict[tuple[str, Any], int] = {}

    def behave(handler: Handler, request: Request) -> None:
        key = (words(request), request.get("seed"))
        with handler.server.lock:
            seen[key] = seen.get(key, 0) + 1
            early = seen[key] <= times
        (behaviour if early else agrees)(handler, request)

    return behave
