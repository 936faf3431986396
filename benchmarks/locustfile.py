"""Users who send photos through the gateway, more of them step by step, for Locust (https://locust.io, MIT).

    benchmarks/locust_environment                    # once; prints the command
    .venv-locust/bin/locust -f benchmarks/locustfile.py --headless --host http://127.0.0.1:8080 --only-summary
    .venv-locust/bin/locust -f benchmarks/locustfile.py --headless --host http://127.0.0.1:8080 \
        --steps 5,25,50,75,100,50,5 --step-seconds 30 --namespace default --deployment yolo --csv run --csv-full-history

Without ``--headless`` Locust's page on port 8089 shows the curves. A user sends a photo, waits for its boxes, and sends the
next one a second after the one before, or at once where the answer took longer. An answer that is not 200, or has no
detections in it, is a failure and is not tried again. Photos are all JPEGs of ``--photos``, in turn.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from locust import LoadTestShape, constant_pacing, events, run_single_user, task
from locust.contrib.fasthttp import FastHttpUser

PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "data" / "photos"
PACE_S = 1.0
SPAWNED_PER_S = 20.0
TIMEOUT_S = 60.0
SHOWN_CHARS = 200


@events.init_command_line_parser.add_listener
def _add_flags(parser: Any) -> None:
    parser.add_argument("--steps", default="5,25,50,75,100,50,5", help="users of each step")
    parser.add_argument("--step-seconds", type=float, default=30.0, help="length of each")
    parser.add_argument("--namespace", default="default", help="of the SeldonDeployment")
    parser.add_argument("--deployment", default="yolo", help="its name")
    parser.add_argument("--photos", default=str(PHOTOS), help="folder of JPEGs")


@events.init.add_listener
def _read_photos(environment: Any, **_unused: Any) -> None:
    paths = sorted(Path(environment.parsed_options.photos).glob("*.jpg"))
    if not paths:
        raise SystemExit(f"{environment.parsed_options.photos}: no *.jpg in it; name a folder with --photos")
    PhotoUser.photos = itertools.cycle([path.read_bytes() for path in paths])


class PhotoUser(FastHttpUser):
    """One person with a camera."""

    wait_time = constant_pacing(PACE_S)
    network_timeout = connection_timeout = TIMEOUT_S
    photos: Iterator[bytes]

    @task
    def send_photo(self) -> None:
        options = self.environment.parsed_options
        url = f"/seldon/{options.namespace}/{options.deployment}/api/v1.0/predictions"
        headers = {"Content-Type": "image/jpeg"}
        with self.client.post(url, data=next(self.photos), headers=headers, catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code}: {(answer.text or '')[:SHOWN_CHARS]}")
            elif '"detections"' not in (answer.text or ""):
                answer.failure(f"no detections: {(answer.text or '')[:SHOWN_CHARS]}")


class SteppedUsers(LoadTestShape):
    """So many users at a time; the test ends with the last step."""

    def tick(self) -> tuple[int, float] | None:
        options = self.runner.environment.parsed_options
        steps = [int(users) for users in options.steps.split(",")]
        number = int(self.get_run_time() / options.step_seconds)
        return (steps[number], SPAWNED_PER_S) if number < len(steps) else None


if __name__ == "__main__":
    run_single_user(PhotoUser)
