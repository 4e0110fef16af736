"""What the fork server does when it starts, which is to import this: it leaves the app's process group.

A signal sent to the whole group (Ctrl-C, `timeout`, a closed terminal) is the app's to handle. Had it ended the
server too, every worker would look dead to the app that is draining them. The server ends with the app's pipe.

Process: imported by the fork server, and by nothing else.
"""

from __future__ import annotations

import contextlib
import os

with contextlib.suppress(OSError):  # it leads a group already
    os.setsid()
