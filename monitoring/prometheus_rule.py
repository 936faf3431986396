"""The rules of one machine's Prometheus as the object that Prometheus' operator reads on a cluster:

python monitoring/prometheus_rule.py       # writes monitoring/kubernetes/rules.yaml from monitoring/rules/*.yml
"""

from __future__ import annotations

from pathlib import Path

import yaml

FOLDER = Path(__file__).parent
OBJECT = FOLDER / "kubernetes" / "rules.yaml"
HEAD = "# Made from monitoring/rules/*.yml by monitoring/prometheus_rule.py: edit those.\n"


class Readable(yaml.SafeDumper):
    """A text of several lines is a block."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Readable.add_representer(str, _text)


def render() -> str:
    """One PrometheusRule with the groups of all files, in the order of their names."""
    files = sorted((FOLDER / "rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    found = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "slipway"},
        "spec": {"groups": groups},
    }
    return HEAD + yaml.dump(found, Dumper=Readable, sort_keys=False, width=1000, allow_unicode=True)


if __name__ == "__main__":
    OBJECT.write_text(render())
