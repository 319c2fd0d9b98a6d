// Subscribes through `ws` and prints the events; see README.md.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

// Through `require`, which looks into NODE_PATH; `import` does not.
const { WebSocket } = createRequire(import.meta.url)("ws");

const TYPES = ["welcome", "subscribed", "unsubscribed", "pong", "event", "error", "closing"];
const DEADLINE_MS = 120_000;

const option = { type: "string" };
const { values } = parseArgs({ options: { url: option, control: option, events: option } });
const lines = readFileSync(values.events, "utf8").split("\n");
const count = lines.filter((line) => line.trim() !== "").length;

function fail(reason) {
  process.stderr.write(`${reason}\n`);
  process.exit(1);
}

function expect(message, type, ...fields) {
  if (message.type !== type) fail(`expected ${type}: ${JSON.stringify(message)}`);
  const missing = fields.filter((field) => !(field in message));
  if (missing.length > 0) fail(`${type} without ${missing}: ${JSON.stringify(message)}`);
}

// Each message has one place where it may come: welcome, subscribed, then events.
function* session(socket) {
  expect((yield).message, "welcome", "session_id", "server_time");
  socket.send(JSON.stringify({ type: "subscribe", subscription_id: "all", filters: {} }));
  expect((yield).message, "subscribed", "subscription_id", "filters");
  process.stdout.write("ready\n");
  for (let received = 0; received < count; received += 1) {
    const { message, text } = yield;
    expect(message, "event", "message_id", "timestamp", "event");
    // As it came: JavaScript's numbers would round large integers.
    process.stdout.write(`${text.replaceAll("\n", " ")}\n`);
  }
}

const ready = await fetch(`${values.control.replace(/\/$/, "")}/health/ready`);
if (ready.status !== 200) fail(`not ready: ${ready.status}`);

const socket = new WebSocket(values.url);
const steps = session(socket);
let finished = steps.next().done;
setTimeout(() => fail("too late"), DEADLINE_MS).unref();

socket.on("error", (error) => fail(error));
socket.on("message", (data, isBinary) => {
  const text = data.toString();
  if (isBinary) fail("not a text frame");
  const message = JSON.parse(text);
  if (!TYPES.includes(message.type)) fail(`not a message of part A: ${text}`);
  finished = steps.next({ message, text }).done;
  if (finished) socket.close(1000);
});
socket.on("close", (code) => process.exit(finished && code === 1000 ? 0 : 1));
