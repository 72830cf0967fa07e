"""A chat endpoint that speaks OpenAI's protocol, asked many questions at once; no failed call ever raises."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from hashlib import sha256
from importlib.util import find_spec
from math import isfinite
from threading import Lock, Thread
from time import perf_counter, time
from typing import Any
from warnings import warn

Conversation = list[dict[str, Any]]
"""Messages as OpenAI's chat protocol has them, pictures as data URLs."""


@dataclass(frozen=True)
class EndpointSettings:
    """Where a model answers, and how patiently, often and expensively it is asked.

    Attributes:
        base_url: of the server, up to and with its version, such as "http://127.0.0.1:8000/v1".
        model: name the server knows the model by.
        api_key_env: environment variable with the key; one that is not set sends a placeholder.
        timeout: seconds one try may take from the first byte sent to the last one read.
        retries: further tries after a refused connection, a timeout, and statuses 408, 409, 429 and 5xx.
        concurrency: calls on their way at one time.
        max_calls: calls in the life of the endpoint, None for no limit; retries and cached answers are free.
        cache: folder that keeps answers; None keeps none.
        transcript: JSON Lines file that gets a line for every question; None writes none.
        temperature: of the answer; 0 takes the likeliest words.
        max_tokens: most tokens of an answer.

    Raises:
        ValueError: a value is not in its range.
    """

    base_url: str
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    timeout: float = 60.0
    retries: int = 3
    concurrency: int = 8
    max_calls: int | None = None
    cache: str | None = None
    transcript: str | None = None
    temperature: float = 0.0
    max_tokens: int = 512

    def __post_init__(self) -> None:
        """Refuses what no endpoint could work with."""
        if not isinstance(self.base_url, str) or not self.base_url.startswith(("http://", "https://")):
            raise ValueError(
                f"base_url is {self.base_url!r}, expected one that begins with http:// or https://"
            )
        if not isinstance(self.model, str) or not self.model:
            raise ValueError(f"model is {self.model!r}, expected the name the server knows it by")
        for name, least in (("retries", 0), ("concurrency", 1), ("max_tokens", 1), ("max_calls", 0)):
            value = getattr(self, name)
            if value is None and name == "max_calls":
                continue
            if type(value) is not int or value < least:
                raise ValueError(f"{name} is {value!r}, expected a whole number of {least} or more")
        for name in ("timeout", "temperature"):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not isfinite(value)
                or value < 0
            ):
                raise ValueError(f"{name} is {value!r}, expected a finite number of 0 or more")
        if self.timeout == 0:
            raise ValueError("timeout is 0, expected more seconds than none")


def endpoint_settings(data: Mapping[str, Any]) -> EndpointSettings:
    """Settings from JSON values.

    Raises:
        ValueError: a name is not known, `base_url` or `model` is missing, or a value is not in its range.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"endpoint is {data!r}, expected a mapping with base_url and model")
    known = [field.name for field in fields(EndpointSettings)]
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise ValueError(f"setting {unknown[0]!r} is not known, expected one of {', '.join(known)}")
    for name in ("base_url", "model"):
        if data.get(name) is None:
            raise ValueError(f"setting {name!r} is missing, expected where and as what the model is served")
    return EndpointSettings(**data)


@dataclass(frozen=True)
class Answer:
    """What came of one question.

    Attributes:
        text: the answer; None where there is none.
        error: why there is none; None where there is one.
        cached: whether it was known from an earlier call.
    """

    text: str | None
    error: str | None
    cached: bool = False


class ChatEndpoint:
    """Asks one model. Calls run in a thread of their own, so any thread may ask, under a running loop too.

    Attributes:
        settings: as given.
        calls: questions that were sent, without retries.
        cached: answers that were known from an earlier call.
        failed: questions without an answer.

    Raises:
        ModuleNotFoundError: a package of the extra "judge" is missing.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        for package in ("openai", *(["diskcache"] if settings.cache else [])):
            if find_spec(package) is None:
                raise ModuleNotFoundError(
                    f"asking a model needs {package}: pip install 'editenv[judge]'", name=package
                )
        self.settings = settings
        self.calls = self.cached = self.failed = 0
        self._cache = _open_cache(settings.cache) if settings.cache else None
        self._lock = Lock()
        self._worker: _Worker | None = None

    def ask(
        self, conversations: Sequence[Conversation], version: str, seeds: Sequence[int] | None = None
    ) -> list[Answer]:
        """The model's answers in the order of the questions; equal questions with equal seeds are asked once.

        Args:
            conversations: one a question.
            version: of the prompt; an answer kept under another version is not used.
            seeds: one a question, sent along, so that votes on one question differ; None sends none.
        """
        chosen: Sequence[int | None] = [None] * len(conversations) if seeds is None else seeds
        requests = [self._request(talk, seed) for talk, seed in zip(conversations, chosen, strict=True)]
        if not requests:
            return []
        return self._wait(lambda worker: worker.all([(request, version) for request in requests]))

    def health(self) -> None:
        """Asks one short question, past the cache and without retries.

        Raises:
            ConnectionError: there was no answer; says what to check.
        """
        settings = self.settings
        request = self._request([{"role": "user", "content": "Answer with the word yes."}], None)
        answer = self._wait(lambda worker: worker.once(request))
        if answer.error is not None:
            raise ConnectionError(
                f"the model {settings.model!r} at {settings.base_url} gives no answer ({answer.error}); "
                "check that the server runs, that base_url ends as it should (mostly in /v1), that it serves "
                f"a model of this name, and that {settings.api_key_env} holds its key if it wants one"
            )

    def _request(self, messages: Conversation, seed: int | None) -> dict[str, Any]:
        """What is sent."""
        settings = self.settings
        request: dict[str, Any] = {
            "model": settings.model,
            "messages": messages,
            "temperature": settings.temperature,
            "max_tokens": settings.max_tokens,
        }
        return request if seed is None else request | {"seed": seed}

    def _wait(self, work: Callable[[_Worker], Any]) -> Any:
        """Runs a coroutine of the worker in its thread and waits for it."""
        with self._lock:
            # After a fork the thread lives in the parent alone.
            if self._worker is None or self._worker.process != os.getpid():
                self._worker = _Worker(self, self._cache)
            worker = self._worker
        future = asyncio.run_coroutine_threadsafe(work(worker), worker.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


class _Worker:
    """The thread that talks to the server; everything in it happens in one event loop."""

    def __init__(self, endpoint: ChatEndpoint, cache: Any) -> None:
        self.process = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._endpoint = endpoint
        self._cache = cache
        self._client: Any = None
        self._room = asyncio.Semaphore(endpoint.settings.concurrency)
        self._underway: dict[str, asyncio.Task[Answer]] = {}
        Thread(target=self.loop.run_forever, name="editenv-endpoint", daemon=True).start()

    async def all(self, requests: Sequence[tuple[dict[str, Any], str]]) -> list[Answer]:
        """Answers to requests with their versions."""
        return list(await asyncio.gather(*[self._answer(*pair) for pair in requests]))

    async def once(self, request: dict[str, Any]) -> Answer:
        """The answer to one request, without cache, retries and counters."""
        return await self._send(request, retries=0)

    async def _answer(self, request: dict[str, Any], version: str) -> Answer:
        """A known answer, or that of a new call; equal questions wait for one call."""
        key = sha256(json.dumps([version, request], sort_keys=True).encode()).hexdigest()
        started = perf_counter()
        kept = self._known(key)
        if isinstance(kept, str):
            answer = Answer(kept, None, cached=True)
        elif key in self._underway:
            shared = await asyncio.shield(self._underway[key])
            answer = Answer(shared.text, shared.error, cached=shared.error is None)
        else:
            self._underway[key] = asyncio.ensure_future(self._call(request))
            self._underway[key].add_done_callback(lambda _: self._underway.pop(key))
            answer = await asyncio.shield(self._underway[key])
            self._keep(key, answer)
        self._endpoint.cached += answer.cached
        self._endpoint.failed += answer.error is not None
        if self._endpoint.settings.transcript:
            line = {"time": time(), "key": key, "version": version, "request": _without_pictures(request)}
            came = {"text": answer.text, "error": answer.error, "cached": answer.cached}
            with _warned("the transcript lacks a line"):
                _append(
                    self._endpoint.settings.transcript, line | came | {"seconds": perf_counter() - started}
                )
        return answer

    def _known(self, key: str) -> Any:
        """A kept answer's text."""
        if self._cache is not None:
            with _warned("a kept answer cannot be read"):
                return self._cache.get(key)
        return None

    def _keep(self, key: str, answer: Answer) -> None:
        if self._cache is not None and answer.text is not None:
            with _warned("an answer is not kept"):
                self._cache.set(key, answer.text)

    async def _call(self, request: dict[str, Any]) -> Answer:
        """A call, when there is room and money for it."""
        settings = self._endpoint.settings
        async with self._room:
            if settings.max_calls is not None and self._endpoint.calls >= settings.max_calls:
                return Answer(None, f"the budget of {settings.max_calls} calls (max_calls) is used up")
            self._endpoint.calls += 1
            return await self._send(request, settings.retries)

    async def _send(self, request: dict[str, Any], retries: int) -> Answer:
        """The server's answer, or what went wrong."""
        try:
            self._client = self._client or _open_client(self._endpoint.settings)
            client = self._client.with_options(max_retries=retries)
            return Answer(_text_of(await client.chat.completions.create(**request)), None)
        except Exception as error:  # Whatever a server sends must stay this one call's error.
            cause = f" ({error.__cause__})" if error.__cause__ and str(error.__cause__) else ""
            return Answer(None, f"{type(error).__name__}: {error}{cause}"[:500])


def _open_client(settings: EndpointSettings) -> Any:
    """OpenAI's client, each of whose tries ends in time: its own timeout starts anew with every byte."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    class Timed(DefaultAsyncHttpxClient):
        """A client whose requests are over after `timeout` seconds, however the bytes trickle in."""

        async def send(self, *args: Any, **kwargs: Any) -> Any:
            """Sends a request and reads its answer."""
            try:
                async with asyncio.timeout(settings.timeout):
                    return await super().send(*args, **kwargs)
            except TimeoutError as error:
                raise TimeoutError(f"no answer within {settings.timeout} seconds") from error

    key = os.environ.get(settings.api_key_env) or "no-key"
    return AsyncOpenAI(base_url=settings.base_url, api_key=key, timeout=settings.timeout, http_client=Timed())


def _text_of(completion: Any) -> str:
    """The words of an answer.

    Raises:
        ValueError: it has none.
    """
    choices = getattr(completion, "choices", None)
    message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
    text = getattr(message, "content", None)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"the server's answer holds no text: {str(completion)[:200]!r}")
    return text


def _open_cache(folder: str) -> Any:
    """The answers kept in a folder, as JSON; several processes may use it, and nothing is ever thrown out."""
    from diskcache import Cache, JSONDisk

    return Cache(folder, disk=JSONDisk, eviction_policy="none")


@contextmanager
def _warned(loss: str) -> Iterator[None]:
    """Turns a failure of cache or transcript into a warning: an answer that was paid for is worth more."""
    try:
        yield
    except (OSError, ValueError, sqlite3.Error, zlib.error) as error:
        warn(f"{loss}: {type(error).__name__}: {error}", stacklevel=2)


def _without_pictures(request: dict[str, Any]) -> Any:
    """The request with each data URL replaced by its hash, which is short and still tells pictures apart."""
    if isinstance(request, str) and request.startswith("data:"):
        return f"sha256:{sha256(request.encode()).hexdigest()}"
    if isinstance(request, dict):
        return {key: _without_pictures(value) for key, value in request.items()}
    return [_without_pictures(value) for value in request] if isinstance(request, list) else request


def _append(path: str, line: dict[str, Any]) -> None:
    """Adds a line to a file in one piece."""
    data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, data)
    finally:
        os.close(handle)
