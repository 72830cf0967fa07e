"""A chat endpoint that speaks OpenAI's protocol, asked many questions at once; failed calls never raise.

From top to bottom: settings; the endpoint; the thread that it talks in; one request over HTTP; answers on
disk; what is hidden of keys and passwords.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import weakref
import zlib
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, Thread
from time import perf_counter, time
from typing import Any
from urllib.parse import parse_qsl, quote_plus, unquote, urlsplit
from warnings import warn

from editenv.files import append_line, hide_logins
from editenv.registry import build
from editenv.settings import check_settings, setting

Conversation = list[dict[str, Any]]
"""Messages as OpenAI's chat protocol has them, pictures as data URLs."""

MOST_BYTES = 1 << 20
"""Bytes that an answer may have, compressed or not; the longest useful ones have some thousands."""


@dataclass(frozen=True)
class EndpointSettings:
    """Where a model answers, and how patiently, often and expensively it is asked.

    A parameter that is None is left out of requests, for servers that refuse it.

    Raises:
        ValueError: a value is not of its kind or not in its range.
    """

    base_url: str = setting(help='of the server, with its version, such as "http://127.0.0.1:8000/v1"')
    model: str = setting(help="name the server knows the model by")
    api_key_env: str = setting("OPENAI_API_KEY", "variable that holds the key; unset sends a placeholder")
    timeout: float = setting(60.0, "seconds one try may take, to the last byte read", gt=0)
    retries: int = setting(3, "tries after one without a connection, in time, of text, or told to wait", ge=0)
    concurrency: int = setting(8, "calls on their way at one time", ge=1)
    max_calls: int | None = setting(None, "calls in all; retries and kept answers are free", ge=0)
    cache: str | None = setting(None, "folder that keeps answers")
    transcript: str | None = setting(None, "JSON Lines file with a line for every question")
    temperature: float | None = setting(0.0, "of the answer; 0 takes the likeliest words", ge=0)
    max_tokens: int | None = setting(512, "most tokens of an answer", ge=1)
    max_completion_tokens: int | None = setting(None, "the same by its newer name, sent instead", ge=1)
    seed: int | None = setting(0, "added to each question's number, so that votes differ")

    def __post_init__(self) -> None:
        """Checks the kind and range of every setting."""
        url = str(self.base_url)
        if not url.startswith(("http://", "https://")) or url.endswith("//"):
            shown = hide_logins(url).rpartition("@")[2]  # a mistyped one too may hold a password
            raise ValueError(f"base_url is {shown!r}, expected one that begins with http:// or https://")
        check_settings(self)
        if not self.model:
            raise ValueError("model is '', expected the name the server knows it by")


def endpoint_settings(data: Mapping[str, Any]) -> EndpointSettings:
    """Settings from JSON values.

    Raises:
        ValueError: a name is not known, `base_url` or `model` is missing, or a value is not in its range.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"endpoint is {data!r}, expected a mapping with base_url and model")
    return build("endpoint", "chat", {"chat": f"{__name__}:EndpointSettings"}, data)


@dataclass(frozen=True)
class Answer:
    """What came of one question: its text, or why there is none; and whether it was known from an earlier call."""

    text: str | None
    error: str | None
    cached: bool = False


class ChatEndpoint:
    """Asks one model. Calls run in a thread of their own: any thread may ask, under a running event loop too.

    The thread and its connections end with `close` or with the endpoint; after `close` it may be asked again.

    Attributes:
        settings: as given.
        calls: questions that were sent, without retries.
        cached: answers that were known from an earlier call.
        failed: questions without an answer.
        most_bytes: that an answer may have, compressed or not.

    Raises:
        ModuleNotFoundError: a package of the extra "judge" is missing.
    """

    most_bytes = MOST_BYTES

    def __init__(self, settings: EndpointSettings) -> None:
        if find_spec("openai") is None:
            raise ModuleNotFoundError("asking a model needs openai: pip install 'editenv[judge]'", name="openai")
        self.settings = settings
        self.calls = self.cached = self.failed = 0
        self._cache = AnswerCache(settings.cache, self.most_bytes) if settings.cache else None
        self._lock = Lock()
        self._thread: _LoopThread | None = None

    def ask(
        self,
        conversations: Sequence[Conversation],
        version: str,
        seeds: Sequence[int] | None = None,
        checks: Sequence[Callable[[str], Any]] | None = None,
    ) -> list[Answer]:
        """The model's answers in the order of the questions; equal questions with equal seeds are asked once.

        Args:
            conversations: one a question.
            version: of the prompt; an answer kept under another version is not used.
            seeds: one a question, so that votes on one question differ; sent along unless `seed` is None.
            checks: one a question, called with the answer: raises ValueError where it cannot be read, and
                then it is not kept on disk.
        """
        if self._cache:
            self._cache.resting = False
        count = len(conversations)
        jobs = zip(conversations, seeds or [None] * count, checks or [None] * count, strict=True)

        async def all_of_them(thread: _LoopThread) -> list[Answer]:
            return list(await asyncio.gather(*[self._answer(thread, version, *job) for job in jobs]))

        return self._run(all_of_them) if count else []

    def health(self, conversation: Conversation | None = None) -> None:
        """Asks one question as `ask` would, past the cache and without retries.

        Args:
            conversation: what turns ask, for example with a picture; None for a few words.

        Raises:
            ConnectionError: there was no answer; says what to check.
        """
        settings = self.settings
        request = self._request(conversation or [{"role": "user", "content": "Answer with the word yes."}], 0)
        answer = self._run(lambda thread: self._send(thread, request, retries=0))
        if answer.error is not None:
            raise ConnectionError(
                f"the model {settings.model!r} at {hide_logins(settings.base_url)} gives no answer "
                f"({answer.error}); check that the server runs, that base_url ends as it should (mostly in "
                f"/v1), that it serves a model of this name, that {settings.api_key_env} holds its key if it "
                "wants one; a parameter that it refuses (max_tokens, temperature, seed) is left out by null"
            )

    def close(self) -> None:
        """Ends the thread and its connections."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None and thread.process == os.getpid():
            thread.stop()
            thread.thread.join(5.0)

    def _request(self, messages: Conversation, seed: int | None) -> dict[str, Any]:
        settings = self.settings
        parameters = {
            "temperature": settings.temperature,
            "max_tokens": settings.max_tokens if settings.max_completion_tokens is None else None,
            "max_completion_tokens": settings.max_completion_tokens,
            "seed": None if seed is None or settings.seed is None else settings.seed + seed,
        }
        given = {name: value for name, value in parameters.items() if value is not None}
        return {"model": settings.model, "messages": messages} | given

    def _run(self, work: Callable[[_LoopThread], Coroutine[Any, Any, Any]]) -> Any:
        """Runs a coroutine in the endpoint's thread and waits for it."""
        with self._lock:
            # After a fork the thread lives in the parent alone.
            if self._thread is None or self._thread.process != os.getpid():
                self._thread = _LoopThread(self.settings, self.most_bytes)
                weakref.finalize(self, self._thread.stop).atexit = False
            thread = self._thread
        future = asyncio.run_coroutine_threadsafe(work(thread), thread.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _answer(
        self,
        thread: _LoopThread,
        version: str,
        messages: Conversation,
        seed: int | None,
        check: Callable[[str], Any] | None,
    ) -> Answer:
        """A known answer, or that of a new call; equal questions wait for one call."""
        request, kept = self._request(messages, seed), None
        # The seed belongs to the question even where it is not sent: votes are separate answers.
        asked = json.dumps([self.settings.base_url, version, seed, request], sort_keys=True)
        key, started = sha256(asked.encode()).hexdigest(), perf_counter()
        with _warned("a kept answer cannot be read, the question is asked again"):
            kept = self._cache.get(key) if self._cache else None
        if kept is not None and _is_readable(kept, check):
            answer = Answer(kept, None, cached=True)
        elif key in thread.underway:
            shared = await asyncio.shield(thread.underway[key])
            answer = Answer(shared.text, shared.error, cached=shared.error is None)
        else:
            thread.underway[key] = asyncio.ensure_future(self._call(thread, request))
            thread.underway[key].add_done_callback(lambda _: thread.underway.pop(key))
            answer = await asyncio.shield(thread.underway[key])
            with _warned("an answer is not kept"):
                if self._cache and answer.text is not None and _is_readable(answer.text, check):
                    self._cache.set(key, answer.text)
        self.cached += answer.cached
        self.failed += answer.error is not None
        if self.settings.transcript:
            line = {"time": time(), "key": key, "version": version, "request": _without_pictures(request)}
            line |= {"text": _without_pictures(answer.text), "error": answer.error, "cached": answer.cached}
            line["seconds"] = perf_counter() - started
            with _warned("the transcript lacks a line"):
                data = json.dumps(line, ensure_ascii=False).encode(errors="backslashreplace")
                append_line(Path(self.settings.transcript), data + b"\n")
        return answer

    async def _call(self, thread: _LoopThread, request: dict[str, Any]) -> Answer:
        """A call, when there is room and money for it."""
        settings = self.settings
        async with thread.room:
            if settings.max_calls is not None and self.calls >= settings.max_calls:
                return Answer(None, f"the budget of {settings.max_calls} calls (max_calls) is used up")
            self.calls += 1
            return await self._send(thread, request, settings.retries)

    async def _send(self, thread: _LoopThread, request: dict[str, Any], retries: int) -> Answer:
        """The server's answer, or what went wrong in the last of 1 + retries tries."""
        for attempt in range(retries + 1):
            try:
                return Answer(await self._text(thread.client(), request), None)
            except Exception as error:  # Whatever a server sends must stay this one call's error.
                status = getattr(error, "status_code", None)
                lasts = isinstance(error.__cause__, PermissionError)
                if status is not None:
                    lasts = status not in (408, 409, 429) and status < 500
                if attempt == retries or lasts:
                    cause = f" ({error.__cause__})" if error.__cause__ and str(error.__cause__) else ""
                    told = _hide(f"{type(error).__name__}: {error}{cause}", self.settings)[:500]
                    return Answer(None, told.encode(errors="backslashreplace").decode())
                await asyncio.sleep(_delay(error, attempt))
        raise AssertionError("unreachable")

    async def _text(self, client: Any, request: dict[str, Any]) -> str:
        """The text of the server's answer, without keys; anything may be raised where there is none."""
        completion = await client.chat.completions.create(**request)
        choices = getattr(completion, "choices", None)
        message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
        text = getattr(message, "content", None)
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"the server's answer holds no text: {str(completion)[:200]!r}")
        return _hide(text, self.settings)


class _LoopThread:
    """A thread with an event loop, one client and what its calls share; holds no endpoint, to end with it."""

    def __init__(self, settings: EndpointSettings, most_bytes: int) -> None:
        self.process = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.room = asyncio.Semaphore(settings.concurrency)
        self.underway: dict[str, asyncio.Task[Answer]] = {}
        self._settings, self._most_bytes, self._client = settings, most_bytes, None
        self.thread = Thread(target=self._live, name="editenv-endpoint", daemon=True)
        self.thread.start()

    def client(self) -> Any:
        """The client, opened when first needed."""
        self._client = self._client or _open_client(self._settings, self._most_bytes)
        return self._client

    def stop(self) -> None:
        """Lets the thread end: calls on their way are cancelled and connections closed."""
        if self.process == os.getpid() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)

    def _live(self) -> None:
        self.loop.run_forever()
        calls = asyncio.all_tasks(self.loop)
        for call in calls:
            call.cancel()
        if calls:
            self.loop.run_until_complete(asyncio.wait(calls))
        try:
            if self._client is not None:
                self.loop.run_until_complete(self._client.close())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        finally:
            self.loop.close()


# One request over HTTP.


def _open_client(settings: EndpointSettings, most_bytes: int) -> Any:
    """OpenAI's client over connections that are bounded in time and bytes and stay with one host.

    By itself it starts its timeout anew with every byte, reads answers of any length and follows redirects.
    """
    import httpx
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    class BoundedClient(DefaultAsyncHttpxClient):
        """Requests are over after `timeout` seconds or `most_bytes`, and never leave the host of `base_url`."""

        async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
            """Sends a request and reads its answer."""
            try:
                async with asyncio.timeout(settings.timeout):
                    return await self._bounded(request, options | {"stream": True, "follow_redirects": False})
            except TimeoutError as error:
                raise httpx.ReadTimeout(f"no answer within {settings.timeout} seconds") from error

        async def _bounded(self, request: httpx.Request, options: dict[str, Any]) -> httpx.Response:
            home = request.url
            for _ in range(5):
                response = await super().send(request, **options)
                try:
                    if response.next_request is None:
                        packing = ("content-encoding", "content-length", "transfer-encoding")
                        kept = {name: value for name, value in response.headers.items() if name not in packing}
                        data = await _body(response, most_bytes)
                        return httpx.Response(response.status_code, headers=kept, content=data, request=request)
                    request = response.next_request
                finally:
                    await response.aclose()
                url = request.url
                if (url.host, url.port) != (home.host, home.port) or url.scheme not in ("https", home.scheme):
                    where = f"{url.scheme}://{url.host}:{url.port}"
                    raise PermissionError(f"the server redirects to {where}, which base_url does not name")
            raise PermissionError("the server redirects in circles")

    return AsyncOpenAI(
        base_url=settings.base_url,
        api_key=os.environ.get(settings.api_key_env) or "no-key",
        timeout=settings.timeout,
        http_client=BoundedClient(headers={"accept-encoding": "gzip, deflate"}),
        max_retries=0,
    )


async def _body(response: Any, most_bytes: int) -> bytes:
    """The body, unpacked; never more than most_bytes of it are read or unpacked."""
    data = bytearray()
    async for part in response.aiter_raw():
        data += part
        if len(data) > most_bytes:
            raise ValueError(f"the answer is longer than {most_bytes} bytes")
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return bytes(data)
    if encoding not in ("gzip", "deflate"):
        raise ValueError(f"the answer is packed as {encoding[:40]!r}, expected gzip, deflate or nothing")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # reads the heads of gzip and of zlib
    found = unpacker.decompress(data, most_bytes + 1)
    if len(found) > most_bytes:
        raise ValueError(f"the answer unpacks to more than {most_bytes} bytes")
    if not unpacker.eof:
        raise ValueError("the answer's packed data ends too early")
    return found


def _delay(error: Exception, attempt: int) -> float:
    """Seconds before the next try: what the server asks for, up to a minute, else 0.5, 1, 2, 4, 8, 8, ..."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            wanted = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if 0 <= wanted <= 60:
            return wanted
    return min(0.5 * 2.0 ** min(attempt, 9), 8.0)


# Answers on disk.


class AnswerCache:
    """Answers by key, as JSON in an SQLite file that several processes may use; none is ever thrown out.

    A folder from somebody else can hold wrong answers, but nothing in it runs: a file that holds more than the
    one table, such as views and triggers, is neither read nor written.

    Attributes:
        resting: set where another process holds the file; it is left alone until somebody unsets it.
    """

    _FORM = 1  # how values are written: 1 is a JSON string
    _TABLE = "CREATE TABLE Cache (key TEXT PRIMARY KEY, mode INTEGER, value TEXT)"

    def __init__(self, folder: str, most_bytes: int = MOST_BYTES) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._path, self._most_bytes, self.resting = Path(folder) / "cache.db", most_bytes, False

    def get(self, key: str) -> str | None:
        """The answer kept under a key, None where there is none.

        Raises:
            ValueError, sqlite3.Error: the file or the value is damaged, or another process holds the file.
        """
        # However long a damaged value is, no more of it is read than an answer may have.
        query = "SELECT substr(value, 1, ?) FROM Cache WHERE key = ? AND mode = ?"
        found = self._execute(query, (8 * self._most_bytes, key, self._FORM))
        if not found:
            return None
        try:
            text = json.loads(found[0]) if isinstance(found[0], str) else None
        except RecursionError:
            text = None
        if not isinstance(text, str):
            raise ValueError("the value is no text")
        return text

    def set(self, key: str, text: str) -> None:
        """Keeps an answer; raises ValueError or sqlite3.Error where it cannot."""
        query = "INSERT OR REPLACE INTO Cache (key, mode, value) VALUES (?, ?, ?)"
        self._execute(query, (key, self._FORM, json.dumps(text)))

    def _execute(self, statement: str, values: tuple[Any, ...]) -> Any:
        """The first row that a statement gives; waits one second for a file that another process holds."""
        if self.resting:
            return None
        if self._path.is_symlink():
            raise ValueError(f"{self._path} is a link, expected a file")
        try:
            with closing(sqlite3.connect(self._path, timeout=1.0)) as database, database:
                database.execute("PRAGMA trusted_schema = OFF")
                parts = dict(database.execute("SELECT name, sql FROM sqlite_master"))
                if not parts:
                    database.execute(self._TABLE.replace("TABLE", "TABLE IF NOT EXISTS"))
                elif parts != {"Cache": self._TABLE, "sqlite_autoindex_Cache_1": None}:
                    raise ValueError(f"{self._path} holds more than answers, expected one table")
                return database.execute(statement, values).fetchone()
        except sqlite3.OperationalError as error:
            self.resting = "locked" in str(error)
            raise


def _is_readable(text: str, check: Callable[[str], Any] | None) -> bool:
    try:
        if check is not None:
            check(text)
    except ValueError:
        return False
    return True


@contextmanager
def _warned(loss: str) -> Iterator[None]:
    """Turns a failure of cache or transcript into a warning: an answer that was paid for is worth more."""
    try:
        yield
    except (OSError, ValueError, OverflowError, sqlite3.Error) as error:
        warn(f"{loss}: {type(error).__name__}: {error}", stacklevel=3)


def _without_pictures(request: Any) -> Any:
    """The request with each data URL replaced by its hash, which is short and still tells pictures apart."""
    if isinstance(request, str) and request.startswith("data:"):
        return f"sha256:{sha256(request.encode()).hexdigest()}"
    if isinstance(request, dict):
        return {key: _without_pictures(value) for key, value in request.items()}
    return [_without_pictures(value) for value in request] if isinstance(request, list) else request


# Keys and passwords: hidden in all that a server sends back, since errors and answers go into records.


def _hide(text: str, settings: EndpointSettings) -> str:
    """The text without the key, and without the password and parameters of the URL in the forms they may come in."""
    url = urlsplit(settings.base_url)
    found = [os.environ.get(settings.api_key_env) or "", url.password or ""]
    found += [value for _, value in parse_qsl(url.query)]
    found += [change(secret) for secret in found for change in (unquote, quote_plus)]
    found += [json.dumps(secret)[1:-1] for secret in found]
    login = f"{unquote(url.username or '')}:{unquote(url.password or '')}"
    found.append(b64encode(login.encode()).decode())
    for secret in sorted(set(found), key=len, reverse=True):
        # Shorter ones would blot out common words, and are no secrets.
        if len(secret) > 3:
            text = text.replace(secret, "***")
    return text
