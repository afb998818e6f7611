"""A line to the API server that can be cut: TCP passed on as it is, TLS and all."""

import contextlib
import socket
import threading


class Line:
    """Listens on `port` of loopback and passes on to another port, until it is cut."""

    def __init__(self, port):
        self._target = port
        self._lock = threading.Lock()
        self._sockets = set()
        self.is_cut = False
        self.opened = 0
        """How many connections were passed on."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def cut(self):
        """End all connections; new ones are ended at once, until `mend`."""
        self.is_cut = True
        self._end_all()

    def mend(self):
        self.is_cut = False

    def close(self):
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def _end_all(self):
        with self._lock:
            sockets = list(self._sockets)
        for found in sockets:
            with contextlib.suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.is_cut:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            self.opened += 1
            with self._lock:
                self._sockets |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._sockets.discard(source)
        source.close()
