// Stands for a login: what it signs, the gateway believes. Prints the address of a user's tab.
//
//     node examples/notifications/login.mjs [USER]

import { createHmac } from "node:crypto";

const SECRET = process.env.TOKEN_SECRET ?? "for this example, and for nothing else";

/** A token (JWT, RFC 7519) that holds for an hour. */
function sign(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256" })}.${part({ ...claims, exp: Math.floor(Date.now() / 1000) + 3600 })}`;
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`;
}

/** In the name of a channel, a user is one token. */
const named = (user) => encodeURIComponent(user).replaceAll(".", "%2E");

export const ofUser = (user) => sign({ sub: user, channels: [`user.${named(user)}`] });
export const ofApplication = () => sign({ sub: "shop", scope: "notify" });

if (import.meta.url === `file://${process.argv[1]}`) {
  const [user = "ann"] = process.argv.slice(2);
  const tab = new URL("tab.html", import.meta.url);
  tab.search = new URLSearchParams({ user, token: ofUser(user) });
  console.log(tab.href);
}
