"""Nodes and pods without a kubelet: kwok keeps them ready, and marks pods as running.

It manages the nodes made here and their pods, no others.
"""

from typing import Any

MARK = "kwok.x-k8s.io/node"


def node(name: str) -> dict[str, Any]:
    """Return a node that kwok will make ready."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {MARK: "fake"},
            "labels": {"kubernetes.io/hostname": name, "type": "kwok"},
        },
    }
