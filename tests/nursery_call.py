"""``python nursery_call.py FOLDER MODULE``: be ``python -m MODULE`` with a process of the nursery in FOLDER.

That process ends with this one, and this one with whoever started it; a signal by which others ask it to end is passed
on. As ``FOLDER/python`` it is called as Python is, with ``-m MODULE ARGUMENT…``, by a ``gradsieve serve`` from there.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

if __name__ == "__main__":
    home, *words = sys.argv[1:]
    executable = {}
    if words[0] == "-m":
        del words[0]
        executable = {"executable": f"{home}/python"}
    # It would watch over a parent that is the nursery's; here this process does.
    if words[0] == "flows.operations.child":
        del words[:2]
    module, *arguments = words
    asked = {"module": module, "arguments": arguments, "folder": str(Path.cwd()), "environment": dict(os.environ)}
    asked |= executable
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{home}/ours")
        line = json.dumps(asked).encode() + b"\n"
        sent = socket.send_fds(connection, [line], [1, 2])
        connection.sendall(line[sent:])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: connection.sendall(bytes([number])))
        connection.settimeout(0.5)
        parent, code = os.getppid(), None
        while code is None and os.getppid() == parent:
            with suppress(TimeoutError):
                code = connection.recv(16)
    sys.exit(int(code or 1))
