// The pages of the examples in headless Chromium, opened from the disk as their READMEs say. Prints what has been seen, and ends
// well when all of it has been.
//
//   node tests/program/examples/pages.mjs PLAY GATEWAY

import { ofUser } from "../../../examples/notifications/login.mjs";
import { launch } from "../../browser.mjs";
import { PATIENCE_MS } from "../../patience.mjs";

const [play, gateway] = process.argv.slice(2);

async function open(browser, path, parameters) {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => {
    throw error;
  });
  const url = new URL(`../../../examples/${path}`, import.meta.url);
  url.search = new URLSearchParams({ ...parameters, gateway });
  await page.goto(url.href);
  return page;
}

const plays = {
  async rider(browser) {
    const page = await open(browser, "ride-location/rider.html", { driver: "42" });
    const place = page.locator("#place[data-lat]");
    const before = await place.textContent();
    console.log("there is the car");
    await page.waitForFunction((before) => document.getElementById("place").textContent !== before, before);
    console.log("it moves");
  },

  async driver(browser) {
    const page = await open(browser, "ride-acceptance/driver.html", { driver: "ann" });
    await page.getByText("online", { exact: true }).waitFor();
    console.log("online");
    await page.getByRole("button", { name: "Take it" }).click();
    await page.getByText(/^drives /).waitFor();
    console.log(await page.locator("#state").textContent());
  },

  async tab(browser) {
    const page = await open(browser, "notifications/tab.html", { user: "ann", token: ofUser("ann") });
    await page.getByText("connected", { exact: true }).waitFor();
    console.log("connected");
    await page.locator("li").nth(2).waitFor();
    console.log((await page.locator("li").allTextContents()).join(", "));
  },
};

const browser = await launch();
try {
  await plays[play](browser);
} finally {
  await browser.close();
}
