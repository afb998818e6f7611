"""Relay over TLS: trusted by its authority and name, and a client certificate where it wants one."""

import grpc
import pytest

from collector import relay_secrets
from collector.settings import CollectorSettings
from runtime.errors import UserError
from schemas.picket.v1 import flows_pb2
from tests.collector import harness, observer
from tests.collector.builders import fresh
from tests.parts import certificates
from tests.parts import relay as parts

pytestmark = pytest.mark.slow

NAME = parts.SERVER_NAME


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return parts.certify(tmp_path_factory.mktemp("tls"), mutual=True)


@pytest.fixture
def secure(tls):
    certificate, key = (path.read_bytes() for path in tls.server)
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)],
        root_certificates=tls.ca_file.read_bytes(),
        require_client_auth=True,
    )
    with observer.serving(credentials=credentials) as (steered, address):
        steered.address = address
        yield steered


def settings(tls, **changes):
    certificate, key = tls.client
    return {
        "tls": True,
        "tls_ca_file": tls.ca_file,
        "tls_certificate_file": certificate,
        "tls_key_file": key,
        "tls_server_name": NAME,
        **changes,
    }


def test_flows_come_over_mutual_tls(log, secure, tls):
    """With authority, pair and name all is as without."""
    written = harness.Written(log)
    secure.emit(*fresh(5))
    with harness.collecting(log, relay=secure.address, **settings(tls)):
        harness.wait_for(lambda: len(written.uuids()) == 5)


@pytest.mark.parametrize("change", ["tls_ca_file", "tls_server_name", "client"])
def test_whoever_is_not_trusted_sees_nothing(log, secure, tls, change):
    """The stream stays blind, and nothing is sent in the clear."""
    changes = {
        "tls_ca_file": {"tls_ca_file": tls.wrong_ca_file},
        "tls_server_name": {"tls_server_name": "other.example.com"},
        "client": {"tls_certificate_file": None, "tls_key_file": None},
    }[change]
    secure.emit(*fresh(5))
    written = harness.Written(log)
    with harness.collecting(log, relay=secure.address, **settings(tls, **changes)):
        harness.wait_for(lambda: written.states().count(flows_pb2.BLIND) >= 2)
    assert not written.uuids()


def test_a_file_that_is_no_certificate_is_a_users_error(log, tls, tmp_path):
    """Before anything starts, in one line."""
    wrong = tmp_path / "ca.pem"
    with pytest.raises(UserError, match="cannot read"):
        harness.collected(log, relay="127.0.0.1:1", tls=True, tls_ca_file=wrong)
    wrong.write_text("hello")
    with pytest.raises(UserError, match="is not a PEM file"):
        harness.collected(log, relay="127.0.0.1:1", tls=True, tls_ca_file=wrong)


def test_what_files_hold_is_judged_before_it_is_used(tmp_path):
    """In a few words, and without a key in any of them."""
    first, second = certificates.Authority.new("a"), certificates.Authority.new("b")
    pair, other = first.sign("x"), second.sign("x")

    def problem(ca, certificate, key):
        return relay_secrets.Secrets(ca, certificate, key).problem()

    assert problem(first.pem, pair.certificate, pair.key) is None
    assert problem(None, None, None) is None
    assert problem(first.pem, pair.certificate, other.key) is not None
    assert problem(first.pem[:100], None, None) == "the authorities are not whole"
    assert problem(None, pair.certificate[:100], pair.key) == "the certificate is not whole"
    assert problem(None, pair.certificate, pair.key[:100]) == "the key is not whole"
    assert "PRIVATE" not in repr(relay_secrets.Secrets(first.pem, pair.certificate, pair.key))


def test_without_a_certificate_of_its_own_nothing_expires(tmp_path, log):
    """Where only relay shows one, no expiry is shown."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(certificates.Authority.new("a").pem)
    with harness.collecting(log, relay="127.0.0.1:1", tls=True, tls_ca_file=ca) as run:
        assert (
            run.registry.get_sample_value(
                "picket_collector_tls_certificate_seconds", {"target": "relay"}
            )
            is None
        )
    secrets = relay_secrets.read(
        CollectorSettings.model_validate({"relay": "a:1", "tls": True, "tls_ca_file": ca})
    )
    assert secrets.validity() is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "either relay or flows"),
        ({"relay": "a:1", "flows": "x"}, "either relay or flows"),
        ({"relay": "nowhere"}, "not HOST:PORT"),
        ({"relay": "a:1", "follow": True}, "follow is for a capture"),
        ({"relay": "a:1", "tls_ca_file": "x"}, "need tls"),
        ({"relay": "a:1", "tls": True, "tls_key_file": "x"}, "go together"),
        ({"relay": "a:1", "allow": "{"}, "must be JSON"),
        ({"relay": "a:1", "allow": '{"nonsense": 1}'}, "not a flow filter"),
        ({"relay": "a:1", "deny": "@/nowhere"}, "cannot read flow filters"),
        ({"flows": "x", "allow": '{"http_path": ["/"]}'}, "cannot be filtered by http_path"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(given, said):
    """Each with a line that says what to change."""
    with pytest.raises(UserError, match=said):
        CollectorSettings.load("collector", flags=given, environment={})
