from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from PIL import Image

from tests.onebox_mesh.browser import CHROMIUM, chromium_page
from tests.onebox_mesh.envoys import running_gateway
from tests.onebox_mesh.upstreams import running_upstreams
from tests.onebox_mesh.world import virtual_service, world
from tests.waiting import eventually

pytestmark = [
    pytest.mark.browser,
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)"),
]
DETECTIONS = {
    "jsonData": {
        "detections": [
            {
                "label": "square",
                "class_id": 0,
                "confidence": 0.987,
                "box": {"x_min": 20, "y_min": 60, "x_max": 100, "y_max": 140},
            },
            {
                "label": "<b>disc",
                "class_id": 1,
                "confidence": 0.5,
                "box": {"x_min": 150, "y_min": 20.4, "x_max": 300, "y_max": 200},
            },
        ],
        "image": {"width": 320, "height": 240},
        "model": {"name": "shapes", "version": "2", "digest": "sha256:abc"},
    }
}


@asynccontextmanager
async def _page(tmp_path):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (320, 240), "white").save(photo)
    async with running_upstreams(stable=1) as upstreams:
        upstreams.members[0].reply = DETECTIONS
        objects = world([virtual_service({"stable": 0})], upstreams.predictors(), ports=upstreams.ports)
        async with running_gateway(tmp_path / "home", objects) as gateway, chromium_page(tmp_path / "profile") as page:
            await page.open(f"{gateway.url}/")
            await eventually(lambda: page.evaluate("document.getElementById('deployment').value"), what="the list")
            yield page, photo, upstreams.members[0], gateway


async def _ask(page, photo):
    await page.choose_file("#photo", photo)
    await eventually(lambda: page.evaluate("!document.getElementById('send').disabled"), what="the button")
    await page.evaluate("document.getElementById('send').focus()")
    await page.press("Enter", 13)


async def test_page_shows_boxes_model_predictor_and_time(tmp_path):
    async with _page(tmp_path) as (page, photo, upstream, gateway):
        assert await page.evaluate("document.getElementById('deployment').value") == "default/yolo"
        await _ask(page, photo)
        await eventually(lambda: page.evaluate("!document.getElementById('detections').hidden"), what="detections")
        rows = await page.evaluate(
            "[...document.querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
        )
        assert rows == [["square", "0.987", "20, 60, 100, 140"], ["<b>disc", "0.500", "150, 20, 300, 200"]]
        assert await page.text("status") == "2 objects found."
        assert await page.text("model") == "shapes version 2 (sha256:abc)"
        assert await page.text("predictor") == "stable"
        assert (await page.text("time")).endswith(" ms")
        assert page.console == []  # before the test itself reads pixels, of which Chromium complains
        pixels = "[...document.getElementById('picture').getContext('2d').getImageData({}, {}, 1, 1).data].slice(0, 3)"
        assert await page.evaluate(pixels.format(20, 100)) != [255, 255, 255]  # on the left edge of the square's box
        assert await page.evaluate(pixels.format(60, 100)) == [255, 255, 255]  # inside it
        path, size, headers = upstream.seen[-1]
        assert (path, size) == ("/api/v1.0/predictions", photo.stat().st_size)
        assert headers["content-type"] == "image/png"
        assert all(url.startswith((gateway.url, "blob:", "data:")) for url in page.requested)


async def test_page_shows_the_sentence_of_an_error(tmp_path):
    async with _page(tmp_path) as (page, photo, upstream, _):
        upstream.behave = "503"
        upstream.reply = {
            "status": {"status": 1, "info": "the photo has 51 megapixels", "code": -1, "reason": "IMAGE_TOO_LARGE"}
        }
        await _ask(page, photo)
        await eventually(lambda: page.evaluate("document.getElementById('status').className === 'error'"))
        assert await page.text("status") == "the photo has 51 megapixels (IMAGE_TOO_LARGE)"
        assert await page.evaluate("document.getElementById('detections').hidden")


async def test_page_fits_a_phone_and_names_its_controls(tmp_path):
    async with _page(tmp_path) as (page, photo, _, _):
        await page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
        await _ask(page, photo)
        await eventually(lambda: page.evaluate("!document.getElementById('detections').hidden"), what="detections")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        tree = await page.call("Accessibility.getFullAXTree")
        named = {
            (node["role"]["value"], node["name"]["value"])
            for node in tree["nodes"]
            if node.get("name") and node.get("role")
        }
        assert ("combobox", "SeldonDeployment") in named
        assert ("button", "Find objects") in named
        assert ("image", "The photo with boxes around: square, <b>disc") in named
        assert any(role == "status" for role in (node["role"]["value"] for node in tree["nodes"] if node.get("role")))
        assert any("Choose a photo" in name for _, name in named)
