"""`picket up` on a cluster in place of a folder of manifests."""

import pytest

from agent import table
from bus import embedded, port
from tests.agent import objects
from tests.cli import stand
from tests.waiting import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]


def test_policies_come_from_the_cluster_of_a_kubeconfig(control_plane, namespace, tmp_path):
    """They are known under the name that was given, and followed."""
    control_plane.apply(objects.a_cnp(namespace, "first"))
    arguments = ("--flows", stand.EXAMPLES / "shop.jsonl.gz", "--cluster", "live")
    kubeconfig = ("--kubeconfig", control_plane.kubeconfig)
    with stand.running(tmp_path, *arguments, *kubeconfig, policies=None) as up:
        until((up.folder / "log.db").exists)
        log = embedded.EmbeddedLog(up.folder / "log.db")

        def names():
            known = table.read(log, "live")
            ours = [found.name for found in known.objects if found.namespace == namespace]
            return known.synced and ours

        try:
            until(lambda: names() == ["first"], despite=(port.LogError,))
            control_plane.apply(objects.a_cnp(namespace, "second"))
            until(lambda: names() == ["first", "second"])
        finally:
            log.close()
    assert up.process.returncode == 0
