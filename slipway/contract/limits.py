"""The one body limit and what is derived from it; the largest port."""

from __future__ import annotations

MAX_PHOTO_BYTES = 8 * 1024 * 1024
"""A photo as a client sends it, before any encoding."""

MAX_PORT = 65535

MAX_BODY_BYTES = 12 * 1024 * 1024
"""HTTP bodies, Envoy buffers and gRPC messages: base64 of a photo is 4/3 of it, the rest is for the envelope."""
