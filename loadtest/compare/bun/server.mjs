// A fan-out on Bun's server, whose WebSockets are uWebSockets, as its documentation has it: who
// sends a message is subscribed to a topic, and what is posted is published there. Connections are
// greeted and subscriptions confirmed, so that connecting takes as many messages as with Alarmcast.

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
      socket.send(JSON.stringify({ type: "welcome", session_id: crypto.randomUUID() }));
    },
    message(socket, text) {
      const { type, subscription_id } = JSON.parse(text);
      if (type === "subscribe") {
        socket.subscribe(TOPIC);
        socket.send(JSON.stringify({ type: "subscribed", subscription_id }));
      }
    },
  },
});

console.log(`ws://${server.hostname}:${server.port}/ http://${server.hostname}:${server.port}`);
