"""What can be wrong with a request, in the words of alerts; `web.errors` turns it into HTTP."""


class RequestError(Exception):
    """A request that cannot be granted; the message says why, to whoever made it.

    RequestError
     ├── Unknown        there is no such alert or project
     ├── Stale          the alert changed since the client looked at it
     ├── NotAllowed     the status cannot be changed to this one
     └── Invalid        a parameter is not what it must be
    """


class Unknown(RequestError):
    """There is no such thing."""


class Stale(RequestError):
    """The revision that the client names is not the alert's any more."""


class NotAllowed(RequestError):
    """The alert's status does not lead to the one asked for."""


class Invalid(RequestError):
    """A parameter is not what it must be."""
