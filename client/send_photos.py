"""Send random photos to the tutorial's service and print what it sees.

    python -m client.send_photos                                  # ten drawn photos to 127.0.0.1:8080
    python -m client.send_photos --folder ~/Pictures --count 3
    python -m client.send_photos --url http://gateway.example/inference --seed 7

The service is seldon/overlays/tutorial behind istio/base/tutorial.yaml.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slipway.client import Client, ClientError

URL = "http://127.0.0.1:8080/inference"
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
TIMEOUT_S = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=URL, help=f"where to send them (default {URL})")
    parser.add_argument("--folder", type=Path, help="send its photos, at random, instead of drawn ones")
    parser.add_argument("--count", type=int, default=10, help="how many (default 10)")
    parser.add_argument("--seed", type=int, help="the same photos every time")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)  # noqa: S311  - which photo comes next is no secret
    try:
        photos = from_folder(arguments.folder, chance) if arguments.folder else drawn(chance)
        for _ in range(arguments.count):
            name, photo = next(photos)
            print(name, json.dumps(send(arguments.url, name, photo)))
    except (OSError, ValueError, ClientError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def from_folder(folder: Path, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of one of its photos after another, without end. ValueError for a folder without any."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"{folder} holds no photo ({' '.join(sorted(SUFFIXES))})")
    while True:
        path = chance.choice(paths)
        yield path.name, path.read_bytes()


def drawn(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Photos of shapes, as the repository's model was trained on."""
    import cv2

    from models.shapes.draw import draw

    while True:
        number = chance.randrange(2**31)
        _, encoded = cv2.imencode(".jpg", draw(number).pixels[..., ::-1])
        yield f"drawn-{number}.jpg", encoded.tobytes()


def send(url: str, name: str, photo: bytes) -> Mapping[str, Any]:
    """The whole reply to a form with the photo; ValueError with its name and the service's own words where it refuses."""
    try:
        with Client(url, form="multipart", timeout_s=TIMEOUT_S) as client:
            return client.detect(photo).reply.message
    except ClientError as error:
        raise ValueError(f"{name}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
