"""Manifests and folders for the agent's tests."""

import textwrap

POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: {name}
  namespace: shop
spec:
  endpointSelector: {{matchLabels: {{app: {app}}}}}
  ingress:
  - fromEndpoints: [{{}}]
"""


def a_policy(name="web", app="web"):
    """A policy's YAML."""
    return POLICY.format(name=name, app=app)


def write(folder, **files):
    """Write files, named without their ending."""
    for name, text in files.items():
        folder.joinpath(f"{name}.yaml").write_text(textwrap.dedent(text), encoding="utf-8")
