// A server that decides about clients by their cookie `sid`, and one that has an application, in one: says its port.
//
// /verify: as the cookie says; /app/…: the head that it got, as JSON; /asked: how often it was asked.
import http from "node:http";

let asked = 0;
const server = http.createServer((request, response) => {
  if (request.url === "/asked") return response.end(String(asked));
  if (request.url.startsWith("/app")) return response.end(JSON.stringify({ url: request.url, ...request.headers }));
  asked += 1;
  const sid = /sid=([a-z]+)/.exec(request.headers.cookie ?? "")?.[1] ?? "nobody";
  const admit = () => response.writeHead(200, { "X-User": "ann@example.org", "X-Groups": "staff" }).end("fine");
  const moods = {
    ann: admit,
    slow: () => setTimeout(admit, 300),
    hangs: () => {},
    drips: () => response.writeHead(200, { "X-User": "ann" }).write("."),
    dies: () => request.socket.destroy(),
    cut: () => {
      response.writeHead(200, { "X-User": "ann", "Content-Length": 9 }).write("a");
      setTimeout(() => request.socket.destroy(), 20);
    },
    fails: () => response.writeHead(500, { "X-User": "ann" }).end("no"),
    nameless: () => response.writeHead(200).end("fine"),
    forbidden: () => response.writeHead(403, { "Content-Type": "text/html" }).end("<p>no</p>"),
    long: () => response.writeHead(403).end("x".repeat(100_000)),
    nobody: () => response.writeHead(302, { Location: `/login?to=${request.headers["x-forwarded-uri"]}` }).end(),
  };
  moods[sid]();
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit());
