"""`python -m slipway.microservice CLASS`: from flags to a serving process, or one line that says why not."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.microservice import workers
from slipway.microservice.component import Component, ComponentError, create_component, load, one_line
from slipway.microservice.custom_metrics import CustomMetrics
from slipway.microservice.grpc_app import component_handlers, service_names
from slipway.microservice.hang import hung, patience_s
from slipway.microservice.hooks import Hooks
from slipway.microservice.inline import InlineCalls
from slipway.microservice.inline import watch as watch_inline
from slipway.microservice.main_thread import Hear, end_by, hear_in_loop, heard_signals, serve_beside
from slipway.microservice.metadata import MetadataError, read_metadata
from slipway.microservice.pidfile import written_pid
from slipway.microservice.rest_app import component_app, metrics_app
from slipway.microservice.restart import Restart, start_afresh
from slipway.microservice.service import Service
from slipway.microservice.settings import SettingError, Settings, read_settings
from slipway.microservice.threads import ComponentThreads
from slipway.microservice.v2_grpc import DESCRIPTORS, v2_handler
from slipway.microservice.v2_grpc import SERVICE as V2_SERVICE
from slipway.microservice.worker import SERVES, SPENT, Worker, this_worker
from slipway.serving.lifecycle import Lifecycle
from slipway.serving.lifeline import executor_ended
from slipway.serving.limits import HEALTH_CALLS
from slipway.serving.podinfo import GRPC_MAX_MESSAGE_SIZE, AnnotationError, read_annotations, whole_number
from slipway.serving.server import BindError, Grpc, Rest, Servers, run
from slipway.serving.tracing import Tracing, open_tracing
from slipway.serving.tracing_jaeger import TracingError

OK, FAILED, USAGE = 0, 1, 2
STOPPING = (signal.SIGTERM, signal.SIGINT)
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Serve until told to stop; the exit code: 0 stopped, 1 could not serve, 2 wrong flags."""
    environment = os.environ if environment is None else environment
    argv = sys.argv[1:] if argv is None else argv
    try:
        settings = read_settings(argv, environment)
    except SettingError as exc:
        _say(str(exc))
        return USAGE
    logging.basicConfig(level=settings.log_level, format=LOG_FORMAT, stream=sys.stderr)
    worker = this_worker(environment)
    try:
        if worker is None and workers.wants_supervisor(settings):
            with written_pid(settings.pidfile):
                return run(workers.supervise(settings, argv))
        return _serve_component(settings, worker, argv)
    except SettingError as exc:
        _say(str(exc))
        return USAGE
    except (ComponentError, AnnotationError, BindError, TracingError) as exc:
        _say(str(exc))
        if settings.debug:
            traceback.print_exc()
        return FAILED


def _say(line: str) -> None:
    print(f"slipway.microservice: {line}", file=sys.stderr, flush=True)


def _serve_component(settings: Settings, worker: Worker | None, argv: Sequence[str]) -> int:
    """In the main thread, which makes, loads and calls the component; unless ``--inline`` the servers have one beside it."""
    tracing = open_tracing(settings.tracing, labels={"worker_id": worker.number if worker else "0"})
    restart = Restart()
    tracing.share()

    def serve(calls: ComponentThreads | InlineCalls, component: Component | None, hear: Hear) -> int:
        def hears(lifecycle: Lifecycle) -> None:
            stops = {number: partial(_stop, lifecycle, number) for number in STOPPING}
            hang_up = partial(worker.say, SPENT) if worker else partial(restart.ask, lifecycle)
            hear({**stops, **dict.fromkeys(restart.signals, hang_up)})

        try:
            with written_pid(None if worker else settings.pidfile):
                code = run(_serve(settings, component, calls, worker, tracing, hears))
        finally:
            tracing.close()
        if restart.asked:
            start_afresh(argv)
        if calls.busy:  # its code would run on while Python takes itself apart
            logging.shutdown()
            os._exit(code)
        return code

    if settings.is_inline:
        for number in STOPPING:
            signal.signal(number, lambda _number, _frame: os._exit(OK))  # until the event loop hears them
        return serve(InlineCalls(), _made(settings), hear_in_loop)
    threads, hear = ComponentThreads(settings.threads, has_mine=True), heard_signals(*STOPPING, *restart.signals)
    return serve_beside(lambda: serve(threads, None, hear), threads)


def _stop(lifecycle: Lifecycle, number: signal.Signals) -> None:
    """The first signal asks for a stop; a second one ends the process at once with the signal's own exit status."""
    if lifecycle.stop_asked.is_set():
        end_by(number)
    lifecycle.stop_asked.set()


def _made(settings: Settings) -> Component:
    """The component, made and loaded in this thread. Raises ComponentError."""
    component = create_component(settings.interface, settings.parameters)
    load(component)
    return component


async def _serve(
    settings: Settings,
    component: Component | None,
    calls: ComponentThreads | InlineCalls,
    worker: Worker | None,
    tracing: Tracing,
    hear: Callable[[Lifecycle], None],
) -> int:
    """``component``: None where it is still to be made."""
    lifecycle = Lifecycle()
    hear(lifecycle)
    if worker is not None:
        worker.stop_with_supervisor(lifecycle)
    component = component or await _loaded(settings, calls, lifecycle)
    if component is None:
        return OK
    metrics = CustomMetrics(settings.identity, worker=worker.number if worker else "0")
    hooks = Hooks(component, metrics, settings.identity, settings.metrics_in_replies)
    service = Service(
        hooks,
        calls,
        lifecycle=lifecycle,
        metadata=await calls.run(partial(_metadata, component, settings)),
        max_in_flight=settings.max_in_flight,
        max_batch=settings.max_batch,
        max_requests=settings.max_requests,
        max_requests_jitter=settings.max_requests_jitter,
        is_spent=partial(worker.say, SPENT) if worker else lifecycle.stop_asked.set,
        tracing=tracing,
    )
    annotations = read_annotations(settings.annotations_file)
    if isinstance(calls, InlineCalls):
        watch_inline(calls, patience_s(annotations), lambda: os._exit(FAILED))
    watch = asyncio.create_task(hung(calls.longest_s, patience_s(annotations)))
    watch.add_done_callback(lambda _: lifecycle.stop_asked.set())
    servers = await _start(settings, service, worker, annotations)
    _start_custom_service(component)
    _log_ports(settings, servers)
    if worker is not None:
        worker.say(SERVES)
    await servers.serve(outlive=partial(executor_ended, pod_ip=settings.pod_ip, notice_s=settings.shutdown.drain_s))
    return OK if watch.cancel() else FAILED


async def _loaded(settings: Settings, calls: ComponentThreads | InlineCalls, lifecycle: Lifecycle) -> Component | None:
    """The component; None when a signal came first. Raises ComponentError. No port is open meanwhile."""
    loading = asyncio.create_task(calls.run(partial(_made, settings)))
    stopping = asyncio.create_task(lifecycle.stop_asked.wait())
    done, _ = await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    return loading.result() if loading in done else None


def _metadata(component: Component, settings: Settings) -> dict[str, object] | str:
    try:
        return read_metadata(component, image=settings.identity.image, override=settings.model_metadata)
    except MetadataError as exc:
        logger.error("metadata of %s: %s", component.name, exc)  # noqa: TRY400 - serving goes on, as the contract says
        return str(exc)
    except Exception as exc:
        raise ComponentError(f"{component.name}.init_metadata() failed: {one_line(exc)}") from exc


async def _start(
    settings: Settings, service: Service, worker: Worker | None, annotations: Mapping[str, str]
) -> Servers:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(service.hooks.metrics)
    registry.register(service.pressure())
    if service.tracing.collector is not None:
        registry.register(service.tracing.collector)
    exposed = metrics_app(registry, settings.metrics_path, lifecycle=service.lifecycle)
    app = component_app(service, payload_passthrough=settings.payload_passthrough)
    listener = worker.listener() if worker else None
    rest = [Rest(app, settings.http_port, cancels_abandoned=True, listener=listener)]
    scraped = settings.metrics_port if worker is None else worker.metrics_socket
    rest.append(Rest(exposed, scraped, is_logged=not settings.filters_metrics_log))
    grpc_half = None
    if settings.grpc_port is not None:
        limit = whole_number(annotations, GRPC_MAX_MESSAGE_SIZE)
        grpc_half = Grpc(
            handlers=[*component_handlers(service), v2_handler(service)],
            services=[*service_names(), V2_SERVICE],
            port=settings.grpc_port,
            max_message_bytes=limit or MAX_BODY_BYTES,
            max_calls=settings.max_in_flight + HEALTH_CALLS,
            descriptors=DESCRIPTORS,
            sign=service.facts,
        )
    return await Servers.start(
        rest=rest,
        grpc_half=grpc_half,
        lifecycle=service.lifecycle,
        host=settings.host,
        shutdown=settings.shutdown,
        reuse_port=worker is not None,
        access_log=settings.access_log,
    )


def _start_custom_service(component: Component) -> None:
    """A component's blocking ``custom_service`` runs beside it, in a thread that ends with the process."""
    if not component.has("custom_service"):
        return

    def run_it() -> None:
        try:
            component.instance.custom_service()
        except Exception:
            logger.exception("custom_service of %s ended", component.name)

    threading.Thread(target=run_it, name="custom_service", daemon=True).start()


def _log_ports(settings: Settings, servers: Servers) -> None:
    rest, exposed = servers.rest_addresses
    grpc_text = f"{settings.host}:{servers.grpc_port}" if servers.grpc_port is not None else "off"
    logger.info("serving %s: REST %s, gRPC %s, metrics %s", settings.interface, rest, grpc_text, exposed)


def entry() -> None:
    """The process: the working folder is the component's, also where the interpreter did not put it on the path."""
    sys.path[:] = [str(Path.cwd()) if part == "" else part for part in sys.path]
    sys.exit(main())
