"""A small HTTP server that takes Coop's callbacks: loopback unless somebody chooses otherwise.

    POST /        a callback: 200 once it is on the disk (or was there), else why it is not
    GET  /livez   200 while the process answers
    GET  /readyz  200, or 503 while the last verdict could not be written

What Coop sends again (it does so after an answer of 500 or more) is taken once. Of a body no more
than `most_bytes` are read; bodies that do not come within `body_s` seconds, and callbacks beyond
`waiting` at a time, are refused. A body's bytes are taken as they came, whatever Content-Encoding
says, since the signature is of them. Nothing that is logged names an id or tells content: bytes
that are no HTTP are counted, since the server's own log would quote them.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import logging
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from configs.errors import InputError
from pipelines.coop.callbacks import SIGNATURE_HEADER, Refused, Rules, Signatures, read_callback
from pipelines.coop.ledger import Ledger
from pipelines.progress import Progress
from pipelines.streaming.failures import describe_failure

_BUSY, _FULL = "busy", "disk"


@dataclasses.dataclass(frozen=True)
class ReceiveRequest:
    """How to receive.

    Attributes:
      host, port: the address; port 0: a free one.
      most_bytes: of a body.
      waiting: callbacks that may be under way at a time.
      body_s: seconds in which a body must have come.
    """

    host: str = "127.0.0.1"
    port: int = 9190
    most_bytes: int = 1 << 20
    waiting: int = 64
    body_s: float = 10.0


def receive(
    request: ReceiveRequest,
    ledger: Ledger,
    signatures: Signatures,
    rules: Rules,
    progress: Progress,
) -> None:
    """Receives until SIGTERM or SIGINT; what is under way then is finished.

    Raises:
      InputError: the address cannot be had.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ledger") as thread:
        receiver = _Receiver(request, ledger, signatures, rules, progress, thread)
        asyncio.run(receiver.run())


class _Receiver:
    def __init__(
        self,
        request: ReceiveRequest,
        ledger: Ledger,
        signatures: Signatures,
        rules: Rules,
        progress: Progress,
        thread: ThreadPoolExecutor,
    ) -> None:
        self._request, self._ledger, self._rules = request, ledger, rules
        self._signatures, self._progress, self._thread = signatures, progress, thread
        self._counts: collections.Counter[str] = collections.Counter()
        self._under_way, self._writes = 0, True

    async def run(self) -> None:
        """Until a signal."""
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread
                loop.add_signal_handler(number, stopped.set)
        app = web.Application(client_max_size=self._request.most_bytes)
        app.router.add_post("/", self._post)
        app.router.add_get("/livez", self._live)
        app.router.add_get("/readyz", self._ready)
        log = logging.Logger("receiver")  # of its own: it hands nothing on
        log.addHandler(_Reduced(self._count))
        runner = web.AppRunner(
            app, access_log=None, handle_signals=False, auto_decompress=False, logger=log
        )
        await runner.setup()
        try:
            host, port = self._request.host, self._request.port
            site = web.TCPSite(runner, host, port, reuse_port=False)
            try:
                await site.start()
            except (OSError, OverflowError) as error:
                why = error.strerror if isinstance(error, OSError) else "no such port"
                raise InputError(
                    f"callbacks cannot be received on {host}:{port} ({why}); is another server "
                    "there? Give another --port or --host"
                ) from error
            bound = runner.addresses[0][1]
            self._progress.say(
                f"receiving on {host}:{bound}; {self._ledger.verdicts:,} verdicts are there"
            )
            await stopped.wait()
        finally:
            await runner.cleanup()
        counts = ", ".join(f"{name} {count:,}" for name, count in sorted(self._counts.items()))
        self._progress.say(f"stopped; {counts or 'nothing came'}")

    async def _post(self, asked: web.Request) -> web.Response:
        if self._under_way >= self._request.waiting:
            return self._refuse(_BUSY, 503, "too many callbacks at a time; send it again later")
        self._under_way += 1
        try:
            return await self._take(asked)
        finally:
            self._under_way -= 1

    async def _take(self, asked: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(self._request.body_s):
                body = await asked.read()
        except TimeoutError:
            return self._refuse("slow", 408, "the body did not come in time")
        except web.HTTPRequestEntityTooLarge:
            return self._refuse(
                "too large", 413, f"the body has more than {self._request.most_bytes} bytes"
            )
        except (web.RequestPayloadError, ConnectionError):
            return self._refuse("broken", 400, "the body broke off")
        try:
            self._signatures.verify(body, asked.headers.get(SIGNATURE_HEADER))
            verdict = read_callback(body, self._rules)
        except Refused as error:
            return self._refuse(error.refusal.name.lower(), error.refusal.value, str(error))
        if verdict is None:
            self._counts["ignored"] += 1
            return web.json_response({"status": "ignored"})
        loop = asyncio.get_running_loop()
        try:
            # Shielded: a client that hangs up does not take a write back, which goes on.
            new = await asyncio.shield(
                loop.run_in_executor(self._thread, self._ledger.add, verdict)
            )
        except OSError as error:
            self._writes = False
            return self._refuse(_FULL, 503, f"it cannot be written ({error.strerror})")
        self._writes = True
        status = "stored" if new else "known"
        self._counts[status] += 1
        return web.json_response({"status": status})

    def _refuse(self, what: str, status: int, text: str) -> web.Response:
        self._count(what, status, text)
        return web.json_response({"status": "refused", "why": text}, status=status)

    def _count(self, what: str, status: int, text: str) -> None:
        """The first refusal of a kind, the tenth, the hundredth and so on are logged."""
        self._counts[f"refused ({what})"] += 1
        count = self._counts[f"refused ({what})"]
        if str(count).strip("0") == "1":
            self._progress.say(f"refused with {status}, {count:,} until now: {text}")

    async def _live(self, asked: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _ready(self, asked: web.Request) -> web.Response:
        if self._writes:
            return web.Response(text="ready\n")
        return web.Response(text="the last verdict could not be written\n", status=503)


class _Reduced(logging.Handler):
    """Logs what kind of failure the HTTP server has met, without its traceback, which may quote."""

    def __init__(self, count: Callable[[str, int, str], None]) -> None:
        super().__init__()
        self._count = count

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            self._count("no http", 400, "bytes that are no HTTP request")
        else:
            what = describe_failure(error) if error is not None else str(record.msg)
            self._count("failed", 500, f"a bug in Lockstep: {what}")
