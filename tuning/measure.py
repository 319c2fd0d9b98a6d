#!/usr/bin/env python3
"""Measures what some settings do; tuning/README.md has the commands and what they printed.

Meant for a network namespace of its own, in which the settings can be changed:
    unshare --net sh -c 'ip link set lo up; sysctl -qw KEY=VALUE; python3 tuning/measure.py crowd'
`held` and `stalled` are for one in which `alarmcast serve` runs on its default ports.
"""

import json
import select
import socket
import subprocess
import sys
import time
import urllib.request

LISTEN_BACKLOG = 4096
STREAM = ("127.0.0.1", 8080)
PUBLISH = "http://127.0.0.1:9090/api/v1/events"


def listener():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(LISTEN_BACKLOG)
    return server


def crowd(count=2000):
    """A crowd connects while the server is busy for 200 ms, and then accepts all. A client
    whose connection is not taken sends again, and hears nothing until then."""
    server = listener()
    server.setblocking(False)
    start = time.monotonic()
    clients = {}
    poller = select.poll()
    for _ in range(count):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(server.getsockname())
        clients[client.fileno()] = client
        # To be answered is to be accepted: an established socket alone proves nothing.
        poller.register(client, select.POLLIN)
    begin, took, accepted = start + 0.2, [], []
    while len(took) < count and time.monotonic() < start + 30:
        if time.monotonic() >= begin:
            try:
                while True:
                    peer = server.accept()[0]
                    peer.send(b"x")
                    accepted.append(peer)
            except BlockingIOError:
                pass
        for number, _ in poller.poll(10):
            took.append(time.monotonic() - start)
            poller.unregister(number)
    at_once = sum(1 for seconds in took if seconds < 0.9)
    last = f"the last after {max(took):.1f} s" if took else "none"
    print(f"{at_once} of {count} within 0.9 s, {last}, {count - len(took)} not in 30 s")


def ports():
    """One address connects to one port until it has no source port left."""
    server, held = listener(), []
    try:
        while True:
            held.append(socket.create_connection(server.getsockname()))
            held.append(server.accept()[0])
    except OSError as error:
        print(f"{len(held) // 2} connections, then: {error.strerror}")


def client():
    """A WebSocket to a running server; None where it is refused or cut off."""
    request = (
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()
    connected = socket.create_connection(STREAM)
    try:
        connected.sendall(request)
        return connected if connected.recv(4096).startswith(b"HTTP/1.1 101") else None
    except ConnectionError:
        return None


def held(count=600):
    """How many connections a running server holds."""
    clients = [client() for _ in range(count)]
    print(f"{sum(1 for client in clients if client)} of {count} connections")


def stalled(count=200):
    """Clients of a running server subscribe and then read nothing, while much is published."""
    subscribe = b'{"type":"subscribe","subscription_id":"all","filters":{}}'
    # Text, masked with zeros.
    frame = bytes([0x81, 0x80 | len(subscribe)]) + bytes(4) + subscribe
    clients = [client() for _ in range(count)]
    for each in clients:
        each.sendall(frame)
    event = json.dumps({"event_type": "system_event", "category": "c", "message": "x" * 900})
    body = "\n".join([event] * 2000).encode()
    headers = {"Content-Type": "application/x-ndjson"}
    urllib.request.urlopen(urllib.request.Request(PUBLISH, body, headers)).read()
    time.sleep(3)
    lines = subprocess.run(
        ["ss", "-tmnH", "sport", "=", f":{STREAM[1]}"], check=True, capture_output=True, text=True
    ).stdout
    # What is queued to be sent, and what is set aside for it.
    ends = [
        sum(int(part[1:]) for part in line.split(",") if part[0] in "wf")
        for line in lines.split("skmem:(")[1:]
    ]
    print(f"{len(ends)} sending ends: {sum(ends) / len(ends) / 1024:.1f} KiB each, {max(ends)} at most")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
