#!/usr/bin/env python3
"""A mitigator: keeps a file with the targets of all bans in force, one a line, for whatever else reads it. Settings: {"file": "/run/banned"}

A router's command line or a firewall's API would be called in place of writing the file. What counts is that the whole set is put in force each time:
then it does not matter what was missed."""

import os

from weir_plugin import Weir


def put_in_force(path, targets):
    """Replaces the file as a whole, so that no reader ever sees half of it."""
    with open(path + ".new", "w", encoding="ascii") as file:
        file.writelines(target + "\n" for target in targets)
    os.replace(path + ".new", path)


weir = Weir("ban_list 1.0", ["mitigator"])
after = "0"
while True:
    bans = weir.call("NextBans", after=after, wait="30s").get("bans")
    if bans is None:
        continue  # nothing has changed
    after = bans["number"]
    # A hostgroup has no one target, and a file of prefixes no way to name it.
    named = [ban for ban in bans.get("bans", []) if ban.get("target")]
    try:
        put_in_force(weir.settings["file"], sorted({ban["target"] for ban in named}))
        problem = ""
    except OSError as error:
        problem = str(error)[:200]
    results = [
        {"attackId": ban["attackId"], "inForce": ban in named and not problem, "message": problem or ("" if ban in named else "a hostgroup has no address")}
        for ban in bans.get("bans", [])
    ]
    weir.call("Applied", number=after, results=results)
