// Subscribes through `ws`, reads with `@msgpack/msgpack`, and prints the events; see README.md.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

// Through `require`, which looks into NODE_PATH; `import` does not.
const require = createRequire(import.meta.url);
const { WebSocket } = require("ws");
const { decode, encode } = require("@msgpack/msgpack");

const SUBPROTOCOL = "alarmcast.v1.msgpack";
const DEADLINE_MS = 120_000;

const option = { type: "string" };
const { values } = parseArgs({ options: { url: option, control: option, events: option } });
const lines = readFileSync(values.events, "utf8").split("\n");
const count = lines.filter((line) => line.trim() !== "").length;

function fail(reason) {
  process.stderr.write(`${reason}\n`);
  process.exit(1);
}

// JSON.stringify refuses the large integers, which are read as BigInt so that they stay exact.
function text(value) {
  if (typeof value === "bigint") return value.toString();
  if (Array.isArray(value)) return `[${value.map(text).join(",")}]`;
  if (value instanceof Uint8Array) return fail("binary data");
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const fields = Object.entries(value).map(([name, field]) => `${JSON.stringify(name)}:${text(field)}`);
  return `{${fields.join(",")}}`;
}

function expect(message, type, ...fields) {
  if (message.type !== type) fail(`expected ${type}: ${text(message)}`);
  const missing = fields.filter((field) => !(field in message));
  if (missing.length > 0) fail(`${type} without ${missing}: ${text(message)}`);
}

// Each message has one place where it may come: welcome, subscribed, then events.
function* session(socket) {
  expect(yield, "welcome", "session_id", "server_time");
  socket.send(encode({ type: "subscribe", subscription_id: "all", filters: {} }));
  expect(yield, "subscribed", "subscription_id", "filters");
  process.stdout.write("ready\n");
  for (let received = 0; received < count; received += 1) {
    const message = yield;
    expect(message, "event", "message_id", "timestamp", "event");
    process.stdout.write(`${text(message)}\n`);
  }
}

const socket = new WebSocket(values.url, SUBPROTOCOL);
const steps = session(socket);
let finished = steps.next().done;
setTimeout(() => fail("too late"), DEADLINE_MS).unref();

socket.on("error", (error) => fail(error));
socket.on("open", () => {
  if (socket.protocol !== SUBPROTOCOL) fail(`the subprotocol is ${socket.protocol}`);
});
socket.on("message", (data, isBinary) => {
  if (!isBinary) fail("not a binary frame");
  finished = steps.next(decode(data, { useBigInt64: true })).done;
  if (finished) socket.close(1000);
});
socket.on("close", (code) => process.exit(finished && code === 1000 ? 0 : 1));
