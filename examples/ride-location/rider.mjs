// A rider's app: follows one driver. In a browser, EventSource is there already (rider.html).
//
//     node examples/ride-location/rider.mjs [http://127.0.0.1:8080] [DRIVER]

import { EventSource } from "eventsource";

const [base = "http://127.0.0.1:8080", driver = "42"] = process.argv.slice(2);
const stream = new EventSource(`${base}/api/sse/drivers/${encodeURIComponent(driver)}/location`);
stream.onopen = () => console.log(`following ${driver}`);
stream.onerror = ({ message }) => stream.readyState === EventSource.CLOSED && console.error(`refused: ${message}`);
// After a cut it comes back by itself. What it missed, nobody needs: it hears the last place.
stream.addEventListener("location", ({ lastEventId, data }) => console.log(lastEventId, data));
