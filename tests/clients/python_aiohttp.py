"""Subscribes through `aiohttp` and prints the events; see README.md."""

import asyncio
import sys

import aiohttp

import part_a


async def collect(args):
    async with aiohttp.ClientSession() as session:
        async with session.get(args.ready_url) as answer:
            assert answer.status == 200, answer.status
        async with session.ws_connect(args.url) as socket:
            welcome = part_a.read(await socket.receive_str())
            part_a.expect(welcome, "welcome", "session_id", "server_time")
            await socket.send_str(part_a.SUBSCRIBE)
            subscribed = part_a.read(await socket.receive_str())
            part_a.expect(subscribed, "subscribed", "subscription_id", "filters")
            print("ready", flush=True)
            for _ in range(args.count):
                part_a.emit(part_a.read(await socket.receive_str()))
        assert socket.close_code == 1000, socket.close_code


async def main():
    await asyncio.wait_for(collect(part_a.arguments()), part_a.DEADLINE_SECONDS)


sys.stdout.reconfigure(encoding="utf-8")
asyncio.run(main())
