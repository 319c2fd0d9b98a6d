"""What the Python clients share: their arguments and the checks of part A."""

import argparse
import json

TYPES = {"welcome", "subscribed", "unsubscribed", "pong", "event", "error", "closing"}
SUBSCRIBE = json.dumps({"type": "subscribe", "subscription_id": "all", "filters": {}})
DEADLINE_SECONDS = 120


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True, help="the server's WebSocket address")
    parser.add_argument("--control", required=True, help="the server's HTTP address")
    parser.add_argument("--events", required=True, help="what will be published, NDJSON")
    args = parser.parse_args()
    args.ready_url = args.control.rstrip("/") + "/health/ready"
    with open(args.events, encoding="utf-8") as file:
        args.count = sum(1 for line in file if line.strip())
    return args


def read(text):
    """One message of the server as an object; refuses what part A does not know."""
    if not isinstance(text, str):
        raise ValueError(f"not a text frame: {text!r}")
    return checked(json.loads(text), text)


def checked(message, frame):
    """A message as it was read from its frame, if part A knows it."""
    if message.get("type") not in TYPES:
        raise ValueError(f"not a message of part A: {frame}")
    if message["type"] in {"error", "closing"}:
        raise ValueError(f"the server is not content: {frame}")
    return message


def expect(message, kind, *fields):
    """Checks a message that must come now."""
    if message["type"] != kind:
        raise ValueError(f"expected {kind}: {message}")
    missing = [field for field in fields if field not in message]
    if missing:
        raise ValueError(f"{kind} without {missing}: {message}")


def emit(message):
    expect(message, "event", "message_id", "timestamp", "event")
    print(json.dumps(message, ensure_ascii=False), flush=True)
