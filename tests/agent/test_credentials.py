"""Kubeconfigs and service accounts, right and wrong."""

import base64
import json
from pathlib import Path

import pytest

from agent import credentials
from runtime.errors import UserError


def a_kubeconfig(folder, *, user=None, **others):
    """A file with one context, as kubectl would write it."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443"}}],
        "users": [{"name": "u", "user": {"token": "secret"} if user is None else user}],
        **others,
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(document))
    return path


def load(path, context=None):
    return credentials.of_kubeconfig(path, context).load()


def test_the_current_context_is_taken(tmp_path):
    """Server and token come from where it points."""
    found = load(a_kubeconfig(tmp_path))
    assert found.host == "https://127.0.0.1:6443"
    assert found.get_api_key_with_prefix("BearerToken") == "Bearer secret"


def test_files_are_looked_for_beside_the_kubeconfig(tmp_path):
    """As kubectl does, wherever it was called."""
    (tmp_path / "ca.pem").write_text("pem")
    cluster = {"server": "https://a", "certificate-authority": "ca.pem"}
    path = a_kubeconfig(tmp_path, clusters=[{"name": "c", "cluster": cluster}])
    assert load(path).ssl_ca_cert == str(tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"current-context": ""}, "has no current context; give --kube-context: one"),
        ({"current-context": "two"}, "has no context two; there are: one"),
        ({"contexts": {}}, "is no kubeconfig"),
        ({"clusters": []}, "context one: there is no cluster c"),
        ({"clusters": [{"name": "c", "cluster": {}}]}, "cluster c has no server"),
        ({"users": []}, "context one: there is no user u"),
        ({"user": {"client-certificate": "nowhere"}}, "File does not exist"),
        ({"user": {"client-certificate-data": "secret!"}}, "cannot be made sense of"),
        ({"user": {"exec": {"command": "false", "apiVersion": "v1"}}}, "false gave no credentials"),
    ],
)
def test_a_wrong_kubeconfig_is_one_line(tmp_path, others, said):
    """It names the file and what to look at, and shows no secret."""
    with pytest.raises(UserError, match=said) as error:
        load(a_kubeconfig(tmp_path, **others))
    assert str(tmp_path / "kubeconfig") in str(error.value)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["a: [", "\x00", "- 1", ""])
def test_what_is_no_kubeconfig_is_said(tmp_path, text):
    """Whatever it is instead."""
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(UserError, match="kubeconfig"):
        load(path)


def test_an_exec_plugin_is_asked(tmp_path):
    """Its token is taken; the library runs it again when it expires."""
    status = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "fresh"},
    }
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(status)}'\n")
    plugin.chmod(0o700)
    user = {"exec": {"command": str(plugin), "apiVersion": status["apiVersion"]}}
    found = load(a_kubeconfig(tmp_path, user=user))
    assert found.get_api_key_with_prefix("BearerToken") == "Bearer fresh"


def test_certificates_within_the_file_are_taken(tmp_path):
    """Decoded into files that only their owner reads."""
    data = base64.b64encode(b"pem").decode()
    user = {"client-certificate-data": data, "client-key-data": data}
    cluster = {"server": "https://a", "certificate-authority-data": data}
    path = a_kubeconfig(tmp_path, user=user, clusters=[{"name": "c", "cluster": cluster}])
    found = load(path)
    for file in (found.cert_file, found.key_file, found.ssl_ca_cert):
        assert Path(file).read_bytes() == b"pem"


def test_a_pods_token_is_read_again_after_it_was_rotated(tmp_path, monkeypatch):
    """The kubelet replaces the file; the library looks every minute, and we whenever refused."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (tmp_path / "ca.crt").write_text("pem")
    (tmp_path / "token").write_text("old")
    found = credentials.of_pod(tmp_path)
    assert found.load().host == "https://10.96.0.1:443"
    (tmp_path / "token").write_text("new")
    assert found.load().get_api_key_with_prefix("BearerToken") == "bearer new"


def test_outside_a_pod_there_is_no_service_account(tmp_path, monkeypatch):
    """Said in one line."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(UserError, match="no service account of a pod can be used"):
        credentials.of_pod(tmp_path).load()
