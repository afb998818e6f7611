"""The share of the packet probes that each run of the tests has; `make soak` runs them all."""

import pytest

from tests.parts import cache, demand
from tests.real.probes import population
from tests.real.probes.kinds import Kind
from tests.real.probes.report import Report
from tests.real.probes.running import Lab, SetResult

pytestmark = [pytest.mark.cilium, pytest.mark.xdist_group("cilium"), pytest.mark.timeout(300)]

SEED = 1
SETS = (16, 54, 104, 17, 93, 134)
"""Few whose rules of every kind of peer let packets pass and stopped others."""
LEAST = 20


@pytest.fixture(scope="module")
def results() -> list[SetResult]:
    """What came of all sets, one after the other on one cluster."""
    found: list[SetResult] = []
    reason: str | None = None
    try:
        with population.new_cluster() as cluster:
            lab = Lab(population.populate(cluster))
            found += [lab.run(SEED, number) for number in SETS]
    except cache.Missing as missing:
        reason = str(missing)
    demand.require("Cilium", reason)
    return found


def test_the_matcher_and_cilium_are_of_one_mind_on_each_packet(results: list[SetResult]):
    """Decision, policies that are named, proxy, comparison, explanation, and what the caller saw."""
    differing = {
        f"set {result.number}: {each.probe}": each.disagreements
        for result in results
        for each in result.disagreeing
    }
    assert differing == {}


def test_enough_packets_were_stopped_and_enough_were_not(results: list[SetResult]):
    """Otherwise agreement says little; a set has twenty packets at least."""
    report = Report(results, seed=SEED)
    assert min(len(result.judged) for result in results) >= LEAST
    assert all(30 <= 100 * each.denied / len(each.judged) <= 70 for each in results)
    assert sum(each.explained for each in report.judged) >= report.denied


@pytest.mark.parametrize("kind", Kind)
def test_rules_of_each_kind_let_packets_pass_and_stopped_others(
    results: list[SetResult], kind: Kind
):
    """Or failed to allow them: rules that nothing comes near prove nothing."""
    fates = {each.denied for result in results for each in result.judged if kind in each.kinds}
    assert fates == {True, False}
