"""Subscribes through `websockets` and prints the events; see README.md."""

import asyncio
import sys
import urllib.request

import websockets

import part_a


async def collect(args):
    with urllib.request.urlopen(args.ready_url) as answer:
        assert answer.status == 200, answer.status
    async with websockets.connect(args.url) as socket:
        part_a.expect(part_a.read(await socket.recv()), "welcome", "session_id", "server_time")
        await socket.send(part_a.SUBSCRIBE)
        subscribed = part_a.read(await socket.recv())
        part_a.expect(subscribed, "subscribed", "subscription_id", "filters")
        print("ready", flush=True)
        for _ in range(args.count):
            part_a.emit(part_a.read(await socket.recv()))
    assert socket.close_code == 1000, socket.close_code


async def main():
    await asyncio.wait_for(collect(part_a.arguments()), part_a.DEADLINE_SECONDS)


sys.stdout.reconfigure(encoding="utf-8")
asyncio.run(main())
