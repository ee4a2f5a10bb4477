"""`lockstep serve`: decisions over gRPC, from a follower of the scorer's state.

An event loop takes requests in and sends answers; one thread decides what has come, in one call,
and between two calls reads the scorer's logs on. Only that thread touches the state, so there is no
lock, and a caller waits for at most two calls and one read. (In the loop itself a call would hold
up requests that need several turns of it to come in.)
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import grpc
import pyarrow as pa
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from configs.errors import InputError, LockstepError, StateError
from pipelines.collector import collect_briefly
from pipelines.progress import Progress, Quiet
from pipelines.serve import decide_pb2
from pipelines.serve.answers import Answers, Limits, Refusal, RefusalError, answer
from pipelines.serve.figures import Figures, ServeHealth
from pipelines.serve.follower import Follower, scorer_runs
from pipelines.serve.tail import DivergedError
from pipelines.snapshots import opened
from pipelines.streaming.counts import Counts
from pipelines.streaming.journal import list_snapshots
from pipelines.streaming.metrics import HOST, MetricsServer
from pipelines.streaming.watch import BundleWatch
from scoring.bundle import load_bundle
from scoring.controls import read_controls
from scoring.files import Place
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.campaigns.lookup import fitting_campaigns
from transforms.catalog import CATALOG

SERVICE, METHOD = "lockstep.v1.Decisions", "Decide"
_LOGGER = logging.getLogger(__name__)
_PORTS = 1 << 16
_AGAIN_S = 1.0
_STOPPING = "stopping"
_SWITCH_S = 0.0005  # between the thread that decides and the loop; Python's 5 ms is a latency

# What code of ours, numpy and Arrow raise of values that nobody thought of. Others end the server.
_FAILURES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
             pa.ArrowException, LockstepError)  # fmt: skip

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class ServeRequest:
    """What is served.

    Attributes:
      bundles: the store; its serving bundle decides, and a change of it is followed.
      state: the scorer's folder; only read.
      port: 0 for a free one.
      host: loopback unless somebody chooses otherwise: there is no authentication.
      limits: of requests.
      request_bytes: most bytes of a request.
      follow_s: the scorer's logs are looked at so often.
      stale_s: after a scorer has been away for so long, nothing is served.
      grace_s: after a signal, requests that have come have so long.
      swap_poll_s: how often the store is asked which bundle serves.
      metrics_port, metrics_host: Prometheus metrics and health over HTTP; None: off.
    """

    bundles: Place
    state: Path
    port: int = 9188
    host: str = HOST
    limits: Limits = dataclasses.field(default_factory=Limits)
    request_bytes: int = 1 << 20
    follow_s: float = 0.05
    stale_s: float = 60.0
    grace_s: float = 5.0
    swap_poll_s: float = 1.0
    metrics_port: int | None = None
    metrics_host: str = HOST


def serve(request: ServeRequest, progress: Progress | None = None) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
      BundleError: no bundle serves, or it is damaged.
      InputError: an address cannot be had.
      StateError: the state folder is of another spec, or its logs are damaged.
    """
    with contextlib.ExitStack() as opened:
        health = ServeHealth()
        metrics = None
        if request.metrics_port is not None:
            metrics = opened.enter_context(
                MetricsServer(request.metrics_port, health, request.metrics_host)
            )
        switch_s = sys.getswitchinterval()
        opened.callback(sys.setswitchinterval, switch_s)
        sys.setswitchinterval(_SWITCH_S)
        asyncio.run(_Server(request, progress or Quiet(), health, metrics).run())


@dataclasses.dataclass
class _Pending:
    events: list[bytes]
    deadline_s: float
    answered: asyncio.Future[tuple[Answers, decide_pb2.Freshness]]


class _Server:
    def __init__(
        self,
        request: ServeRequest,
        progress: Progress,
        health_: ServeHealth,
        metrics: MetricsServer | None,
    ) -> None:
        self._request, self._progress = request, progress
        self._health, self._metrics = health_, metrics
        self._figures = Figures()
        self._standard = health.aio.HealthServicer()
        self._pending: deque[_Pending] = deque()
        self._waiting_events = 0
        self._came = asyncio.Event()
        self._scorer: Scorer | None = None
        self._follower: Follower | None = None
        self._watch: BundleWatch | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="decide")
        self._polled_s = self._news_s = 0.0
        self._away_s: float | None = None  # since when no scorer runs

    async def run(self) -> None:
        """Until a signal."""
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread
                loop.add_signal_handler(number, stopped.set)
        server = self._server()
        await server.start()
        await self._standing("starting: the state is read")
        work = asyncio.ensure_future(self._work())
        waits = asyncio.ensure_future(stopped.wait())
        try:
            await asyncio.wait((work, waits), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._standing(_STOPPING)
            await server.stop(self._request.grace_s)
            failed = work.exception() if work.done() and not work.cancelled() else None
            for task in (work, waits):
                task.cancel()
            await self._stop_watch()
        if failed is not None:
            raise failed

    def _server(self) -> grpc.aio.Server:
        request = self._request
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # a second server on a port must fail, not share it
                ("grpc.max_receive_message_length", request.request_bytes),
            ],
        )
        handlers = {
            METHOD: grpc.unary_unary_rpc_method_handler(
                self._decide,
                request_deserializer=decide_pb2.DecideRequest.FromString,
                response_serializer=decide_pb2.DecideResponse.SerializeToString,
            )
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self._standard, server)
        shown = f"[{request.host}]" if ":" in request.host else request.host
        try:
            if not 0 <= request.port < _PORTS:
                raise RuntimeError("no such port")
            bound = server.add_insecure_port(f"{shown}:{request.port}")
        except RuntimeError as error:
            raise InputError(
                f"decisions cannot be served on {shown}:{request.port}; is another server there? "
                "Give another --port or --host"
            ) from error
        self._progress.say(f"listening on {shown}:{bound}")
        return server

    async def _standing(self, reason: str) -> None:
        """Whether it serves, to all who ask; an empty reason: it does. It never stops stopping."""
        if self._health.reason in (reason, _STOPPING):
            return
        self._health.reason = reason
        status = health_pb2.HealthCheckResponse.ServingStatus
        for name in ("", SERVICE):
            await self._standard.set(name, status.NOT_SERVING if reason else status.SERVING)
        self._progress.say(reason or "ready")

    async def _decide(
        self, request: decide_pb2.DecideRequest, context: grpc.aio.ServicerContext
    ) -> decide_pb2.DecideResponse:
        began = time.monotonic()
        try:
            pending = self._taken(list(request.events), context.time_remaining(), began)
            try:
                answers, state = await pending.answered
            finally:
                pending.answered.cancel()
        except RefusalError as error:
            self._figures.refused(error.refusal)
            await context.abort(getattr(grpc.StatusCode, error.refusal), str(error))
        self._figures.answered(sum(map(len, answers)), time.monotonic() - began)
        return decide_pb2.DecideResponse(
            answers=[decide_pb2.Answer(decisions=one) for one in answers], state=state
        )

    def _taken(self, events: list[bytes], left_s: float | None, now_s: float) -> _Pending:
        limits = self._request.limits
        if self._health.reason:
            raise RefusalError(Refusal.UNAVAILABLE, self._health.reason)
        if not 0 < len(events) <= limits.request_events:
            raise RefusalError(
                Refusal.INVALID_ARGUMENT,
                f"{len(events)} events; expected 1 to {limits.request_events} in a request",
            )
        if self._waiting_events + len(events) > limits.waiting_events:
            raise RefusalError(
                Refusal.RESOURCE_EXHAUSTED,
                f"{self._waiting_events} events wait for their answer, and at most "
                f"{limits.waiting_events} may; ask again later, or ask another server",
            )
        deadline_s = now_s + (left_s if left_s is not None else 1e9)
        answered = asyncio.get_running_loop().create_future()
        pending = _Pending(events, deadline_s, answered)
        self._pending.append(pending)
        self._waiting_events += len(events)
        self._came.set()
        return pending

    async def _work(self) -> None:
        """Reads the scorer's logs, and decides what was asked."""
        await self._open()
        collect_briefly()
        while True:
            due_s = self._polled_s + self._request.follow_s - time.monotonic()
            if not self._pending and due_s > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._came.wait(), due_s)
            self._came.clear()
            await asyncio.sleep(0)  # requests that have come are taken in
            if time.monotonic() - self._polled_s >= self._request.follow_s:
                await self._follow()
            chosen = self._chosen()
            if chosen:
                made = await self._in_thread(functools.partial(self._answers, chosen))
                for one, result in zip(chosen, made, strict=True):
                    if one.answered.done():
                        continue  # its caller has gone meanwhile
                    if isinstance(result, RefusalError):
                        one.answered.set_exception(result)
                    else:
                        one.answered.set_result(result)

    async def _open(self) -> None:
        """Reads bundle and state, until there are some."""
        request = self._request
        store = Store(request.bundles)
        scorer = self._scorer
        if scorer is None:
            scorer = self._scorer = await self._in_thread(
                lambda: Scorer(load_bundle(store.path("serving"), CATALOG)).under(
                    read_controls(request.bundles)
                )
            )
        while not list_snapshots(request.state):
            await self._standing("starting: no scorer has written to the state folder yet")
            await asyncio.sleep(_AGAIN_S)
        ahead_us = request.limits.ahead_us
        follower = self._follower = await self._in_thread(
            lambda: Follower(
                request.state,
                scorer,
                ahead_us=ahead_us,
                snapshots=opened(scorer.bundle.spec, request.bundles),
            )
        )
        watch = BundleWatch(store, lambda: follower.engine, request.swap_poll_s, Counts())
        await self._in_thread(lambda: watch.look_for_campaigns(follower.engine.spec))
        self._watch = watch
        watch.start()
        if self._metrics is not None and not self._figures.shown:
            self._metrics.show(self._figures)
        self._figures.show(self._follower, lambda: self._waiting_events, lambda: self._age_s())

    async def _stop_watch(self) -> None:
        """Its thread may be loading a bundle: that is waited for, but not by the loop."""
        if self._watch is not None:
            await asyncio.to_thread(self._watch.stop)

    async def _follow(self) -> None:
        """Takes up what the scorer has written, and another bundle."""
        follower, watch = self._follower, self._watch
        if follower is None or watch is None:
            return
        now_s = self._polled_s = time.monotonic()
        try:
            news = await self._in_thread(lambda: follower.poll(now_s))
        except DivergedError as error:
            _LOGGER.warning("the state is read anew (%s)", error)
            await self._standing("starting: the state is read anew")
            await self._stop_watch()
            await asyncio.sleep(_AGAIN_S)
            await self._open()
            self._polled_s = 0.0  # at once
            return
        fresh, found = watch.take(), watch.take_snapshots()
        if found is not None:
            with contextlib.suppress(StateError):  # a bundle was swapped meanwhile
                await self._in_thread(lambda: follower.engine.publish(found))
        if fresh is not None:
            try:
                await self._in_thread(lambda: follower.swap(fresh))
                self._scorer = fresh
                self._progress.say(f"{fresh.name} decides")
            except StateError as error:
                watch.refuse(fresh, error)
        follower.engine.campaigns = (
            fitting_campaigns(watch.take_campaigns(), follower.engine.spec)
            or follower.engine.campaigns
        )
        if news:
            self._news_s, self._away_s = now_s, None
        elif now_s - self._news_s >= _AGAIN_S:
            self._news_s = now_s  # it is asked once a second
            if scorer_runs(self._request.state):
                self._away_s = None
            elif self._away_s is None:
                self._away_s = now_s
        away_s = now_s - self._away_s if self._away_s is not None else 0.0
        gone = away_s > self._request.stale_s
        await self._standing("no scorer runs on the state folder" if gone else "")

    def _age_s(self) -> float:
        return time.monotonic() - self._polled_s

    def _chosen(self) -> list[_Pending]:
        """The requests of the next call; those that nobody waits for any more are passed over."""
        chosen: list[_Pending] = []
        events, now_s = 0, time.monotonic()
        most = self._request.limits.look_events
        while self._pending and (not chosen or events + len(self._pending[0].events) <= most):
            one = self._pending.popleft()
            self._waiting_events -= len(one.events)
            if one.answered.done():
                continue
            if one.deadline_s <= now_s:
                late = RefusalError(Refusal.DEADLINE_EXCEEDED, "its deadline came before its turn")
                one.answered.set_exception(late)
                continue
            chosen.append(one)
            events += len(one.events)
        return chosen

    def _answers(
        self, chosen: list[_Pending]
    ) -> list[tuple[Answers, decide_pb2.Freshness] | RefusalError]:
        follower = self._follower
        if follower is None:
            raise RuntimeError("nothing is asked before there is a state")
        requests, now_us = [one.events for one in chosen], time.time_ns() // 1000
        try:
            answers = answer(follower, requests, now_us, self._request.limits)
        except DivergedError:
            return [RefusalError(Refusal.UNAVAILABLE, "the state is read anew")] * len(chosen)
        except _FAILURES as error:  # of what one of them holds: the others are answered
            if len(chosen) > 1:
                return [self._answers([one])[0] for one in chosen]
            _LOGGER.error("a request failed (%s): please report it", type(error).__name__)
            return [RefusalError(Refusal.INTERNAL, "Lockstep itself failed on it")]
        position = follower.engine.resident.position
        state = decide_pb2.Freshness(
            steps=follower.steps,
            folded_us=position.time_us if position is not None else 0,
            waiting=len(follower.waiting),
            age_seconds=self._age_s(),
        )
        return [one if isinstance(one, RefusalError) else (one, state) for one in answers]

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
