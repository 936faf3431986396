"""``seldon_core.Storage`` for component classes that call it: paths of this machine only, as in seldon-core 1.17.1."""

from __future__ import annotations

from pathlib import Path

FILE = "file://"


class Storage:
    """The storage initializer of the Pod downloads models; what it left is a path."""

    @staticmethod
    def download(uri: str, out_dir: str | None = None) -> str:
        """The folder of ``uri``, a path or a ``file://`` URL; with ``out_dir`` that folder, with links to all of it.

        Raises RuntimeError for a path that does not exist and for other schemes.
        """
        path = Path(uri.removeprefix(FILE))
        if not uri.startswith(FILE) and not path.exists():
            raise RuntimeError(
                f"Cannot recognize storage type for {uri}. Only {FILE} is currently available as storage type: "
                "give the node a modelUri, and read the model from /mnt/models"
            )
        if not path.exists():
            raise RuntimeError(f"Local path {uri} does not exist.")
        if out_dir is None:
            return str(path)
        links = Path(out_dir)
        links.mkdir(parents=True, exist_ok=True)
        for source in sorted(path.glob("*")) if path.is_dir() else [path]:
            (links / source.name).symlink_to(source)
        return out_dir
