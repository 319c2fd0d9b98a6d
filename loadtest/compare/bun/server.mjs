// A fan-out on Bun's server, whose WebSockets are uWebSockets, as its documentation has it:
// every connection is subscribed to a topic, and what is posted is published there.

const TOPIC = "load";

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  async fetch(request, server) {
    if (request.method === "POST") {
      server.publish(TOPIC, await request.text());
      return new Response(null, { status: 204 });
    }
    if (!server.upgrade(request)) {
      return new Response("not a WebSocket handshake", { status: 400 });
    }
  },
  websocket: {
    open(socket) {
      socket.subscribe(TOPIC);
    },
    message() {},
  },
});

console.log(`ws://${server.hostname}:${server.port}/ http://${server.hostname}:${server.port}`);
