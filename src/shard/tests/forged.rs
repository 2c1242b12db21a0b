//! Publishers that speak as if they were the gateway.

use super::*;

fn settings() -> Settings {
    let mut settings = super::settings();
    let channel = ChannelTemplate::parse("room.{room}").unwrap();
    let target = WebSocketRoute { channel: Some(channel), publish: true, control: true, ..WebSocketRoute::default() };
    add_routes(&mut settings, [route("/asked/{room}", RouteTarget::WebSocket(target))]);
    settings
}

#[test]
fn an_event_of_the_gateways_own_name_goes_nowhere_by_any_door() {
    let mut bench = Bench::new(2, settings());
    let mut stream = bench.open(0, "/sse/1");
    let (mut worker, mut admin) = (bench.connect(1, BUS), bench.connect(1, ADMIN));
    worker.say("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB r 1\r\n");
    for name in ["tg.gap", "tg.", " tg.result "] {
        let headers = format!("NATS/1.0\r\ntg-EVENT:{name}\r\n\r\n");
        worker.say(format!("HPUB room.1 r {0} {1}\r\n{headers}x\r\n", headers.len(), headers.len() + 1));
        admin.say(format!(
            "POST /api/channels/room.1 HTTP/1.1\r\nHost: a\r\nTg-Event: {name}\r\nContent-Length: 1\r\n\r\nx"
        ));
        bench.run_for(SECOND / 10);
        let heard = worker.hear();
        assert!(heard.contains("-ERR 'Permissions Violation for Publish to \"room.1\"'\r\nHMSG r 1 "), "{heard}");
        assert!(admin.hear().starts_with("HTTP/1.1 400 "), "{name:?}");
        admin = bench.connect(1, ADMIN);
    }
    assert_eq!(bench.core(1).desk.counters().unroutable.value(), 3);
    let headers = "NATS/1.0\r\nTg-Event: tgx.gap\r\n\r\n";
    worker.say(format!("HPUB room.1 {0} {1}\r\n{headers}x\r\n", headers.len(), headers.len() + 1));
    bench.run_for(SECOND / 10);
    let heard = stream.hear();
    assert!(heard.contains("event: tgx.gap\n") && heard.matches("data: ").count() == 1, "{heard}");
}

#[test]
fn what_only_the_gateway_says_to_clients_no_client_can_say() {
    let mut bench = Bench::new(2, settings());
    let mut listener = bench.open(0, "/asked/1");
    for path in ["/ws/1", "/asked/1"] {
        let client = bench.open(1, path);
        for words in ["question", "over", "message"] {
            client.say(text(format!("{{\"tg\":\"{words}\",\"id\":\"00000000000000a1\"}}").as_bytes()));
        }
        client.say(text(b"{\"tg\":\"mine\"}"));
        bench.run_for(SECOND / 10);
        let heard = listener.hear();
        assert!(heard.ends_with("{\"tg\":\"mine\"}") && heard.matches("\"tg\"").count() == 1, "{path}: {heard}");
    }
    assert_eq!(bench.core(1).desk.counters().forged.value(), 6);
}

#[test]
fn where_nobody_listens_for_the_gateways_words_they_are_anybodys() {
    let mut bench = Bench::new(1, super::settings());
    let mut listener = bench.open(0, "/ws/1");
    bench.open(0, "/ws/1").say(text(b"{\"tg\":\"question\"}"));
    bench.run_for(SECOND / 10);
    assert!(listener.hear().ends_with("{\"tg\":\"question\"}"));
}
