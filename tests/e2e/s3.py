"""Clients of the platform's S3 for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import boto3
import botocore.config


def client(keys: Mapping[str, str]) -> Any:
    """``keys``: the variables of ``render_credentials``. The caller closes it."""
    return boto3.client(
        "s3",
        endpoint_url=keys["AWS_ENDPOINT_URL"],
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        region_name=keys["AWS_DEFAULT_REGION"],
        config=botocore.config.Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
