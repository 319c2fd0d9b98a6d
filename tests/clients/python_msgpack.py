"""Subscribes through `websockets`, reads with `msgpack`, and prints the events; see README.md."""

import asyncio
import json
import sys

import msgpack
import websockets

import part_a

SUBPROTOCOL = "alarmcast.v1.msgpack"


def read(frame):
    """One message of the server as an object; refuses whatever is not a named map."""
    if not isinstance(frame, bytes):
        raise ValueError(f"not a binary frame: {frame!r}")
    return part_a.checked(msgpack.unpackb(frame, raw=False, strict_map_key=True), frame)


async def collect(args):
    async with websockets.connect(args.url, subprotocols=[SUBPROTOCOL]) as socket:
        assert socket.subprotocol == SUBPROTOCOL, socket.subprotocol
        part_a.expect(read(await socket.recv()), "welcome", "session_id", "server_time")
        await socket.send(msgpack.packb(json.loads(part_a.SUBSCRIBE)))
        part_a.expect(read(await socket.recv()), "subscribed", "subscription_id", "filters")
        print("ready", flush=True)
        for _ in range(args.count):
            part_a.emit(read(await socket.recv()))
    assert socket.close_code == 1000, socket.close_code


async def main():
    await asyncio.wait_for(collect(part_a.arguments()), part_a.DEADLINE_SECONDS)


sys.stdout.reconfigure(encoding="utf-8")
asyncio.run(main())
