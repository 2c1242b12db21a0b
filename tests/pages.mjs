// Pages in headless Chromium beside a gateway that does not serve them.

import { once } from "node:events";
import { createServer } from "node:http";
import { launch } from "./browser.mjs";
import { Gateway } from "./gateway.mjs";

/** The beginning of each configuration. */
const ON_LOOPBACK = `
shards = 2
pin = false
[[listener]]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
`;

/**
 * Runs `play` with a gateway of the binary that the command line names, and ends all that was begun. `configure` makes the
 * rest of its configuration, behind two shards and listeners for clients and operators, of the port that the pages come from. `visit` opens one of them, under a host that leads to this machine.
 */
export async function beside(configure, play) {
  const pages = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end("<!doctype html><title>a page</title>"));
  await once(pages.listen(0, "127.0.0.1"), "listening");
  const { port } = pages.address();
  const gateway = new Gateway(process.argv[2], ON_LOOPBACK + configure(port), ["http", "admin"]);
  const browser = await launch();
  const visit = async (host = "127.0.0.1") => {
    const page = await browser.newPage();
    await page.goto(`http://${host}:${port}/`);
    return page;
  };
  try {
    await gateway.start();
    await play({ gateway, browser, visit });
  } finally {
    await browser.close();
    pages.closeAllConnections();
    pages.close();
    await gateway.stop();
  }
}
