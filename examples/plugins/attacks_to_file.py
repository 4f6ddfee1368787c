#!/usr/bin/env python3
"""A sink: appends each change of an attack to a file, one JSON object a line. Settings: {"file": "/var/log/weir-attacks.jsonl"}"""

import json
import os

from weir_plugin import Weir

weir = Weir("attacks_to_file 1.0", ["sink"])
after = "0"  # 64-bit numbers are text in protobuf's JSON
with open(weir.settings["file"], "a", encoding="utf-8") as file:
    while True:
        changes = weir.call("NextChanges", after=after, wait="30s").get("changes", [])
        for change in changes:
            attack = change["attack"]
            line = {"time": change["time"], "kind": change["kind"], "attack": attack["id"], "target": attack.get("target", "")}
            file.write(json.dumps(line) + "\n")
        if changes:
            # Only what is safe on the disk is acknowledged, by the next call: after a crash the others come again.
            file.flush()
            os.fsync(file.fileno())
            after = changes[-1]["number"]
