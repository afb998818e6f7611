"""Taking secrets out of HTTP flows before they reach the log, where that is asked for.

Hubble's own redaction is off by default: Authorization headers, cookies and query strings stand in
the flows. Flows without HTTP pass untouched, byte for byte.
"""

import re

from google.protobuf.message import DecodeError

from schemas.hubble import observer_pb2

REDACTED = "REDACTED"
SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token"}
)
_USER = re.compile(r"(?<=://)[^/?#@\s]+@")
_VALUE = re.compile(r"(?<=[?&;])([^=&;#\s]*)(?:=([^&;#\s]*))?")


def redact(raw: bytes) -> bytes:
    """Return a response without its HTTP secrets; what cannot be decoded comes back as it is."""
    try:
        response = observer_pb2.GetFlowsResponse.FromString(raw)
    except DecodeError:
        return raw
    flow = response.flow
    if not flow.l7.HasField("http"):
        return raw
    http = flow.l7.http
    clean = url(http.url)
    # The deprecated summary repeats the URL.
    flow.Summary = flow.Summary.replace(http.url, clean) if http.url else flow.Summary
    http.url = clean
    for header in http.headers:
        if header.key.lower() in SECRET_HEADERS:
            header.value = REDACTED
    return response.SerializeToString()


def url(text: str) -> str:
    """Return a URL whose user information and query values are replaced; names stay."""
    text = _USER.sub(f"{REDACTED}@", text)
    head, mark, query = text.partition("?")
    if not mark:
        return text
    return head + _VALUE.sub(_replace, mark + query)


def _replace(found: re.Match[str]) -> str:
    name, value = found.group(1), found.group(2)
    if value is None:
        # A query without names may be a secret as a whole.
        return REDACTED if name else ""
    return f"{name}={REDACTED}"
