"""What the CRD side refuses of Cilium's policies, apart from any agent: `check` and `refuses`.

`check` is for people: what the API server would refuse or drop, by path. `refuses` is one bit, for
conformance: what Cilium's own check of stored objects (`cilium-dbg preflight validate-cnp`) says.
Kinds that are under no CRD of Cilium's policies are never refused. Nothing here decides what a
policy means; that the engine refuses an object is `policies.parsing`'s business.
"""

from policies.crd.checking import Finding, Stage, check, refuses

__all__ = ["Finding", "Stage", "check", "refuses"]
