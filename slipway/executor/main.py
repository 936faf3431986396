"""The executor's command: serve one predictor until SIGTERM."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from slipway.executor.compile import compile_graph
from slipway.executor.errors import GraphError, SettingError
from slipway.executor.predictor import completed, load_spec
from slipway.executor.process import serve
from slipway.executor.settings import parse_settings
from slipway.executor.timeouts import call_limits
from slipway.serving.podinfo import AnnotationError, read_annotations
from slipway.serving.server import BindError, run
from slipway.serving.tracing_jaeger import TracingError


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 after a drain, 1 when it cannot start (2, from argparse, for a wrong command line)."""
    try:
        settings = parse_settings(sys.argv[1:] if argv is None else argv, os.environ)
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        spec = load_spec(settings)
        graph = compile_graph(spec, log_url=settings.log_url)
        settings = completed(settings)
        limits = call_limits({**spec.annotations, **read_annotations(settings.annotations_file)})
        return run(serve(graph, settings=settings, limits=limits))
    except (SettingError, GraphError, AnnotationError, BindError, TracingError) as error:
        print(f"slipway.executor: {error}", file=sys.stderr)
        return 1
