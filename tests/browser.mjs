// Headless Chromium: Debian's, driven by playwright-core.

import { chromium } from "playwright-core";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
// A page that a test makes up comes from nowhere, and would not be let near a local gateway.
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-features=LocalNetworkAccessChecks"];

export const launch = () => chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
