"""Two steps around Swift's start: write its configuration and rings, make the bucket that model versions live in."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.services import swift
from slipway.onebox.services.credentials import S3_ACCOUNT, S3_SCIENTIST, registrar, render_credentials
from slipway.onebox.services.lost_secrets import SecretLost, refuse_lost_salt
from slipway.onebox.services.secrets import Secrets, ensure_secrets, write_private
from slipway.onebox.settings import HOST, Settings, load_settings
from slipway.onebox.supervisor.history import PERMANENT_EXIT

PART_POWER = 4  # 16 partitions on one device
PROBE_ATTRIBUTE = "user.slipway"


class StorageError(Exception):
    """The machine cannot hold objects; the message says why and what to do."""


def refuse_without_xattrs(folder: Path) -> None:
    """Swift keeps each object's metadata in extended attributes."""
    try:
        os.setxattr(folder, PROBE_ATTRIBUTE, b"1")
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM):
            raise
        raise StorageError(
            f"{folder}: this file system has no extended attributes (user.*), which the S3 server needs: "
            "put SLIPWAY_HOME on ext4, xfs or btrfs"
        ) from error


def write_configuration(folders: swift.SwiftFolders, secrets: Secrets, *, ports: list[int]) -> None:
    """``ports`` are the proxy's, account's, container's and object's."""
    (folders.devices / swift.DEVICE).mkdir(parents=True, exist_ok=True)
    folders.root.chmod(0o700)
    refuse_without_xattrs(folders.devices / swift.DEVICE)
    user = swift.user_name(os.getuid())
    write_private(folders.config / "swift.conf", swift.render_swift_conf(secrets))
    proxy = swift.render_proxy_conf(port=ports[0], user=user, folders=folders, secrets=secrets)
    write_private(folders.conf("proxy"), proxy)
    for server, port in zip(swift.STORAGE_SERVERS, ports[1:], strict=True):
        conf = swift.render_storage_conf(server, port=port, user=user, folders=folders)
        is_same = folders.conf(server).exists() and folders.conf(server).read_text() == conf
        write_private(folders.conf(server), conf)
        if not (is_same and folders.ring(server).exists()):
            _write_ring(folders.ring(server), port=port)


def _write_ring(path: Path, *, port: int) -> None:
    from swift.common.ring import RingBuilder  # half a second: only where a ring is missing

    builder = RingBuilder(part_power=PART_POWER, replicas=1, min_part_hours=0)
    device = {"region": 1, "zone": 1, "ip": HOST, "port": port, "device": swift.DEVICE, "weight": 1.0, "meta": ""}
    builder.add_dev(device)
    builder.rebalance(seed="1")
    scratch = path.with_suffix(".tmp")
    builder.get_ring().save(str(scratch))
    scratch.replace(path)


def ensure_bucket(folders: swift.SwiftFolders, settings: Settings, secrets: Secrets) -> None:
    """The buckets of models, with versions kept of what is overwritten, and of training; the roles' rights on both."""
    import boto3
    from botocore.exceptions import ClientError

    variables = render_credentials(settings, registrar(secrets))
    client = boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_DEFAULT_REGION"],
    )
    for bucket in (swift.BUCKET, swift.TRAINING_BUCKET):
        try:
            client.create_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
                raise
        # The first multipart upload makes the container of the parts, which then can be given its ACL.
        upload = client.create_multipart_upload(Bucket=bucket, Key=".slipway")
        client.abort_multipart_upload(Bucket=bucket, Key=".slipway", UploadId=upload["UploadId"])
        _grant(folders, (bucket, swift.segments_of(bucket)))
    client.put_bucket_versioning(Bucket=swift.BUCKET, VersioningConfiguration={"Status": "Enabled"})


def _grant(folders: swift.SwiftFolders, buckets: tuple[str, ...]) -> None:
    """Give the reader role Swift's read ACL on whole buckets, the scientist role the write ACL too.

    S3's own ACLs would have to be put on every object again. The container server takes the ACL directly: the
    proxy's Swift API would ask for a token, which needs memcached.
    """
    from swift.common.direct_client import direct_put_container
    from swift.common.ring import Ring
    from swift.common.utils import Timestamp, set_swift_dir

    set_swift_dir(str(folders.config))
    ring = Ring(str(folders.ring("container")))
    for bucket in buckets:
        part, nodes = ring.get_nodes(swift.SWIFT_ACCOUNT, bucket)
        headers = {
            "X-Timestamp": Timestamp.now().internal,
            "X-Container-Read": f"{S3_ACCOUNT}:reader,{S3_SCIENTIST}",
            "X-Container-Write": S3_SCIENTIST,
        }
        direct_put_container(nodes[0], part, swift.SWIFT_ACCOUNT, bucket, headers=headers)


def main() -> int:
    """Run one step: `config` before the servers start, `bucket` once they answer."""
    parser = argparse.ArgumentParser(prog="python -m slipway.onebox.services.swift_setup", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="SLIPWAY_HOME")
    parser.add_argument("step", choices=("config", "bucket"))
    parser.add_argument("--ports", type=int, nargs=4, metavar="PORT", help="proxy, account, container, object")
    given = parser.parse_args()
    paths = Paths(given.home.absolute())
    folders = swift.SwiftFolders(paths.data("s3"))
    secrets = ensure_secrets(paths.secrets)
    try:
        if given.step == "config":
            refuse_lost_salt(paths)
            write_configuration(folders, secrets, ports=given.ports)
        else:
            ensure_bucket(folders, load_settings(paths.settings), secrets)
    except (StorageError, SecretLost, LookupError) as error:
        print(error, file=sys.stderr)
        return PERMANENT_EXIT
    return 0


if __name__ == "__main__":
    sys.exit(main())
