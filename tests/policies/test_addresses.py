"""Addresses and prefixes as text and as numbers."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.addresses import PrefixTable, parse_address, parse_prefix


@given(st.ip_addresses())
def test_every_address_is_read_as_its_number(address: ipaddress.IPv4Address) -> None:
    """Of both families."""
    assert parse_address(str(address)) == (address.version, int(address))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "1",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "01.2.3.4",
            "1.2.3.00",
            "1.2.3.-4",
            "+1.2.3.4",
        ),
        *(
            "1.2.3.4 ",
            " 1.2.3.4",
            "1.2.3.4\n",
            "1_0.2.3.4",
            "٣.2.3.4",
            "1..3.4",
            "0x1.2.3.4",
            "1.2.3.4%a",
        ),
        *("::1%eth0", "1::2::3", "12345::", ":::", "::1.2.3.256", "::g", "1:2:3:4:5:6:7", " ::1"),
    ],
)
def test_what_go_does_not_take_for_an_address_is_none(text: str) -> None:
    """No leading zeros, no zones, no digits of other scripts."""
    assert parse_address(text) is None


@given(
    st.text(alphabet="0123456789.", max_size=15)
    | st.text(alphabet="0123456789abcdf:.", max_size=20)
)
def test_it_takes_what_the_standard_library_takes(text: str) -> None:
    """Which is as strict, and slower."""
    try:
        expected = ipaddress.ip_address(text)
    except ValueError:
        assert parse_address(text) is None
    else:
        assert parse_address(text) == (expected.version, int(expected))


networks = st.builds(
    lambda address, bits: ipaddress.ip_network(
        (address, bits % (address.max_prefixlen + 1)), strict=False
    ),
    st.ip_addresses(),
    st.integers(0, 128),
)


@given(st.lists(networks, max_size=8), st.ip_addresses())
def test_the_longest_prefix_wins(
    found: list[ipaddress.IPv4Network], address: ipaddress.IPv4Address
) -> None:
    """As a search of all of them finds it; the address often lies in one of them."""
    table = PrefixTable(parse_prefix(str(network)) for network in found)
    for asked in (address, *(network.network_address for network in found)):
        holding = [n for n in found if n.version == asked.version and asked in n]
        longest = max(holding, key=lambda network: network.prefixlen, default="")
        parsed = parse_address(str(asked))
        assert parsed is not None
        assert table.longest(parsed) == str(longest)
