"""Speaks to Weir from a plug-in, with nothing but Python's standard library: each call is an HTTP POST of JSON over a Unix socket."""

import http.client
import json
import os
import signal
import socket
import sys


class CallError(Exception):
    """Weir has refused a call; code says why in one word, such as resource_exhausted."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("weir", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Weir:
    """The connection to Weir. Every method of plugin.proto is called by its name: weir.call("NextChanges", after="0", wait="30s")."""

    def __init__(self, version, kinds):
        # Asked to end, leave at once: what was not acknowledged comes again at the next start.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        # Longer than any call may wait, so that a Weir that hangs does not hang the plug-in.
        self._connection = _UnixConnection(os.environ["WEIR_PLUGIN_SOCKET"], timeout=90)
        self.hello = self.call("Hello", version=version, kinds=["KIND_" + k.upper() for k in kinds])
        self.settings = json.loads(self.hello.get("settings") or "{}")

    def call(self, method, **fields):
        self._connection.request(
            "POST", "/weir.plugin.v1.PluginHost/" + method, json.dumps(fields), {"Content-Type": "application/json"}
        )
        response = self._connection.getresponse()
        answer = json.loads(response.read() or b"{}")
        if response.status != 200:
            raise CallError(answer.get("code", response.status), answer.get("message", ""))
        return answer
