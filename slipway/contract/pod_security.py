"""What the Pod security standard `restricted` asks of each container, and the user that a Pod of ours has.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

from __future__ import annotations

from collections.abc import Mapping

DEFAULT_USER_ID = 8888
"""Of a componentSpec that says nothing, as in Seldon (contract 2.2)."""
RESTRICTED: Mapping[str, object] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
READ_ONLY: Mapping[str, object] = {"readOnlyRootFilesystem": True}
"""Of what is ours and writes to its mounts only."""
