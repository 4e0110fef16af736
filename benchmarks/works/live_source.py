"""A live source in a process of its own: sends numbers over a socket, each at its time, whatever the other side does.

Run as a file, so that it imports next to nothing: `python live_source.py SOCKET INTERVAL COUNT`. It starts when it is
told the time of the first number, on the clock that all processes of a machine share.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

TIME, NUMBER = struct.Struct("d"), struct.Struct("q")


def send(sock: socket.socket, interval: float, count: int) -> None:
    """Send all numbers. One that is late does not delay the next one's time."""
    sock.setblocking(True)
    (first,) = TIME.unpack(sock.recv(TIME.size))
    for number in range(count):
        if (early := first + number * interval - time.monotonic()) > 0:
            time.sleep(early)
        sock.sendall(NUMBER.pack(number))


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as ours:
        send(ours, float(sys.argv[2]), int(sys.argv[3]))
