"""Every process of one machine, as values, in start order."""

from __future__ import annotations

import sys
from dataclasses import replace

from slipway.onebox.activator.limits import DRAIN_S
from slipway.onebox.mesh.bootstrap import envoy_argv
from slipway.onebox.mesh.layout import ENVOYS, Layout
from slipway.onebox.paths import Paths
from slipway.onebox.services import mlflow, postgres, swift
from slipway.onebox.services.credentials import api_endpoint, reader, render_credentials
from slipway.onebox.services.hub import processes as hub
from slipway.onebox.services.probes import HttpProbe
from slipway.onebox.services.secrets import Secrets
from slipway.onebox.services.wanted import Wish
from slipway.onebox.settings import HOST, Settings
from slipway.onebox.supervisor.spec import Port, ProcessSpec

OPTIONAL = (hub.PART,)
PARTS = ("postgres", "s3", "mlflow", "api", "controller", "runner", "mesh", "activator", "envoy", *OPTIONAL)
IMAGES = "images"
OBJECTS = "objects"
INSTALLERS = (IMAGES, hub.HUB)  # those that may reach out: they install packages
ADDRESSES = ("AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI")  # where one moves, the objects that name it are applied again
IMAGES_WITHIN_S = 600.0  # the first time, a Python environment is made
RUNNER_GRACE_S = 30.0
ACTIVATOR_GRACE_S = DRAIN_S + 5.0
ENVOY_GRACE_S = 5.0
ENVOY_HUNG_AFTER_S = 10.0  # half of all new connections go to each of the two


def build_specs(paths: Paths, settings: Settings, secrets: Secrets, wish: Wish) -> tuple[ProcessSpec, ...]:
    """All processes; tasks among them run to their end."""
    # No module of ours comes from the folder in which somebody typed `slipway up`.
    env = {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1", "SLIPWAY_HOME": str(paths.home)}
    specs = (
        *postgres.specs(paths, env=env),
        *swift.specs(paths, settings, secrets, env=env),
        *mlflow.specs(paths, settings, secrets, env=env),
        *_control(paths, settings, secrets, env=env),
        *(_envoy(index, paths, settings, env=env) for index in ENVOYS),
        *hub.specs(paths, settings, env=env),
    )
    return tuple(
        replace(spec, inherited=wish.environment if spec.name in INSTALLERS else wish.inherited) for spec in specs
    )


def _control(paths: Paths, settings: Settings, secrets: Secrets, *, env: dict[str, str]) -> list[ProcessSpec]:
    """The API and what follows it. MLflow is not waited for: what runs already is served without it."""
    home = ("--home", str(paths.home))
    kubeconfig = ("--kubeconfig", str(paths.kubeconfig))
    api = Port(HOST, settings.api_port, "--api-port")
    network = ("--cluster-network", settings.cluster_network)
    registry = render_credentials(settings, reader(secrets))
    gateway = f"{HOST}:{settings.gateway_port}"
    return [
        ProcessSpec(
            name="api",
            part="api",
            argv=(*_module("slipway.onebox.api"), *home, "--listen", str(api), *network),
            env=env,
            ports=(api,),
            probe=HttpProbe(f"{api_endpoint(settings)}/readyz"),
        ),
        ProcessSpec(
            name=IMAGES,
            part="runner",
            argv=(*_module("slipway.onebox.services.platform_images"), *home),
            env=env,
            ready_within_s=IMAGES_WITHIN_S,
        ),
        ProcessSpec(
            name=OBJECTS,
            part="api",
            argv=(*_module("slipway.onebox.services.platform_objects"), *home),
            env={**env, **{name: registry[name] for name in ADDRESSES}},
            after=("api",),
        ),
        ProcessSpec(
            name="controller",
            part="controller",
            argv=(*_module("slipway.controller"), *kubeconfig, "--keda", "--own-mesh", *_health(paths, "controller")),
            env={**env, **registry},
            probe=_health_probe(paths, "controller"),
            after=("api",),
        ),
        ProcessSpec(
            name="runner",
            part="runner",
            argv=(*_module("slipway.onebox.runner"), *home, *kubeconfig, *_health(paths, "runner")),
            env=env,
            probe=_health_probe(paths, "runner"),
            after=("api",),
            grace_s=RUNNER_GRACE_S,
        ),
        ProcessSpec(
            name="mesh",
            part="mesh",
            argv=(
                *_module("slipway.onebox.mesh"),
                *(*home, *kubeconfig, "--gateway", gateway, *network, *_health(paths, "mesh")),
            ),
            env=env,
            probe=_health_probe(paths, "mesh"),
            after=("api",),
        ),
        ProcessSpec(
            name="activator",
            part="activator",
            argv=(*_module("slipway.onebox.activator"), *home, *kubeconfig, *_health(paths, "activator")),
            env=env,
            probe=_health_probe(paths, "activator"),
            after=("api",),
            grace_s=ACTIVATOR_GRACE_S,
        ),
    ]


def _envoy(index: int, paths: Paths, settings: Settings, *, env: dict[str, str]) -> ProcessSpec:
    return ProcessSpec(
        name=f"envoy-{index}",
        part="envoy",
        argv=tuple(envoy_argv(index, paths)),
        env=env,
        ports=(Port(HOST, settings.gateway_port, "--gateway-port"),),
        probe=HttpProbe("http://envoy/ready", socket=Layout(paths).admin_socket(index)),
        after=("mesh",),
        grace_s=ENVOY_GRACE_S,
        hung_after_s=ENVOY_HUNG_AFTER_S,
    )


def _health(paths: Paths, name: str) -> tuple[str, str]:
    return ("--health-socket", str(paths.sockets / f"{name}.sock"))


def _health_probe(paths: Paths, name: str) -> HttpProbe:
    return HttpProbe(f"http://{name}/readyz", socket=paths.sockets / f"{name}.sock")


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name)
