// A fan-out on ws as its README has it: what one client sends is sent to all others. Those that
// connect to /publish send, the others listen.

import { WebSocket, WebSocketServer } from "ws";

const subscribers = new Set();
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 4096 });

server.on("connection", (socket, request) => {
  socket.on("error", () => socket.terminate());
  if (request.url === "/publish") {
    socket.on("message", sendToAll);
    return;
  }
  subscribers.add(socket);
  socket.on("close", () => subscribers.delete(socket));
});

function sendToAll(data, isBinary) {
  for (const subscriber of subscribers) {
    if (subscriber.readyState === WebSocket.OPEN) {
      subscriber.send(data, { binary: isBinary });
    }
  }
}

server.on("listening", () => {
  const { address, port } = server.address();
  console.log(`ws://${address}:${port}/ http://${address}:${port}`);
});
