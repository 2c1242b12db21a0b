//! Clients of the client protocol whose tokens are not taken: what each is told, and whether it may come again.

use serde_json::{Value, json};

use super::centrifuge::{Client, NOW, Said, settings, token, worker};
use super::*;

/// What a client hears that connects with these claims.
fn connecting(bench: &mut Bench, token: &str) -> Vec<Said> {
    let mut client = Client::open(bench, "/token");
    client.say(&[json!({"id": 1, "connect": {"token": token}})]);
    bench.run_for(SECOND / 10);
    client.hear()
}

fn error(code: u32, words: &str, is_temporary: bool) -> Value {
    match is_temporary {
        true => json!({"code": code, "message": words, "temporary": true}),
        false => json!({"code": code, "message": words}),
    }
}

#[test]
fn whoever_connects_is_told_whether_to_come_again_and_with_which_token() {
    let mut bench = Bench::new(1, settings());
    let refused = |error| Said::Text(json!({"id": 1, "error": error}));
    for (token, said) in [
        (token(&json!({"sub": "ann", "nbf": NOW + 3600})), refused(error(100, "token not valid yet", true))),
        (token(&json!({"sub": "ann", "exp": NOW})), refused(error(109, "token expired", false))),
        (String::new(), refused(error(101, "unauthorized", false))),
        (token(&json!({"sub": ["ann"]})), Said::Close(3500, "invalid token".to_owned())),
        ("a.b.c".to_owned(), Said::Close(3500, "invalid token".to_owned())),
    ] {
        assert_eq!(connecting(&mut bench, &token), [said], "{token}");
    }
    assert_eq!(bench.closed(0, CloseReason::InvalidToken), 2);
}

#[test]
fn a_subscription_that_is_not_allowed_leaves_the_connection_as_it_is() {
    let mut bench = Bench::new(1, settings());
    let (mut client, _) = Client::connected(&mut bench, "/token", json!({"token": token(&json!({"sub": 42}))}));
    let claims = |change: Value| {
        let mut claims = json!({"sub": "42", "channel": "vault"});
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        token(&claims)
    };
    for (token, answer) in [
        (claims(json!({"nbf": 1.8e9})), error(100, "token not valid yet", true)),
        (claims(json!({"exp": 0})), error(109, "token expired", false)),
        (claims(json!({"sub": "ann"})), error(103, "permission denied", false)),
        (claims(json!({"channel": "other"})), error(103, "permission denied", false)),
        ("x".to_owned(), error(103, "permission denied", false)),
    ] {
        client.say(&[json!({"id": 2, "subscribe": {"channel": "vault", "token": token}})]);
        bench.run_for(SECOND / 10);
        assert_eq!(client.texts(), [json!({"id": 2, "error": answer})], "{token}");
    }
    client.say(&[json!({"id": 3, "subscribe": {"channel": "vault", "token": claims(json!({"sub": 42}))}})]);
    bench.run_for(SECOND / 10);
    assert_eq!(client.texts(), [json!({"id": 3, "subscribe": {}})]);
}

#[test]
fn refused_tokens_end_their_connection_with_3500_and_no_other() {
    let mut bench = Bench::new(1, settings());
    let connect = json!({"token": token(&json!({"sub": "ann"}))});
    let (mut bystander, _) = Client::connected(&mut bench, "/token", connect.clone());
    let (mut stranger, _) = Client::connected(&mut bench, "/token", connect.clone());
    let subscribe = |id: u32, token: &str| json!({"id": id, "subscribe": {"channel": "vault", "token": token}});
    let foreign = token(&json!({"sub": "ann", "channel": "other"}));
    stranger.say(&(2..242).map(|id| subscribe(id, &foreign)).collect::<Vec<_>>());
    bystander.say(&[subscribe(2, &token(&json!({"sub": "ann", "channel": "vault"})))]);
    bench.run_for(SECOND / 10);
    let said = stranger.hear();
    assert_eq!(said.len() as u32, limits::TOKENS_REFUSED_MAX + 2, "the last one is answered, too");
    assert_eq!(said.last(), Some(&Said::Close(3500, "invalid token".to_owned())));
    assert_eq!(bench.closed(0, CloseReason::TokensRefused), 1);
    assert_eq!(bystander.texts(), [json!({"id": 2, "subscribe": {}})]);
    // A client that was asleep has one expired token for each of its channels.
    let (mut sleeper, _) = Client::connected(&mut bench, "/token", connect);
    let expired = token(&json!({"sub": "ann", "channel": "vault", "exp": NOW - 1}));
    let channels = limits::CHANNELS_PER_CONNECTION_MAX as u32;
    sleeper.say(&(2..2 + channels).map(|id| subscribe(id, &expired)).collect::<Vec<_>>());
    bench.run_for(SECOND / 10);
    assert_eq!(sleeper.texts().len() as u32, channels);
}

#[test]
fn a_client_that_never_connects_is_refused_so_many_tokens() {
    let mut bench = Bench::new(1, settings());
    let mut client = Client::open(&mut bench, "/token");
    let expired = token(&json!({"sub": "ann", "exp": NOW - 1}));
    let commands: Vec<_> = (1..150).map(|id| json!({"id": id, "connect": {"token": expired}})).collect();
    for _ in 0..2 {
        client.say(&commands);
        bench.run_for(SECOND);
    }
    assert_eq!(client.hear().last(), Some(&Said::Close(3500, "invalid token".to_owned())));
}

#[test]
fn a_refresh_with_a_token_that_has_ended_may_be_tried_again() {
    let mut bench = Bench::new(1, settings());
    let claims = |exp: u64| json!({"token": token(&json!({"sub": "ann", "exp": exp}))});
    let (mut client, _) = Client::connected(&mut bench, "/token", claims(NOW + 60));
    let of_channel = |exp: u64| {
        let token = token(&json!({"sub": "ann", "channel": "vault", "exp": exp}));
        json!({"channel": "vault", "token": token})
    };
    client.say(&[json!({"id": 2, "subscribe": of_channel(NOW + 60)})]);
    client.say(&[json!({"id": 3, "refresh": claims(NOW - 1)}), json!({"id": 4, "sub_refresh": of_channel(NOW - 1)})]);
    client.say(&[json!({"id": 5, "refresh": claims(NOW + 90)}), json!({"id": 6, "sub_refresh": of_channel(NOW + 90)})]);
    bench.run_for(SECOND);
    let answers = client.texts();
    let again = error(109, "token expired", true);
    assert_eq!((&answers[1]["error"], &answers[2]["error"]), (&again, &again));
    assert_eq!((&answers[3]["refresh"]["ttl"], &answers[4]["sub_refresh"]["ttl"]), (&json!(90), &json!(90)));
}

#[test]
fn a_user_of_any_name_is_reached_by_its_token_and_named_by_its_name() {
    let mut bench = Bench::new(2, settings());
    let mut worker = worker(&mut bench, "tg.service.desk");
    for (sub, name, of_subject) in [
        (json!("ann@example.org"), "ann@example.org", "ann@example%2Eorg"),
        (json!("a b"), "a b", "a%20b"),
        (json!("*"), "*", "%2A"),
        (json!(42), "42", "42"),
    ] {
        let (mut client, answer) =
            Client::connected(&mut bench, "/token", json!({"token": token(&json!({"sub": sub}))}));
        assert!(answer["connect"]["client"].is_string());
        let headers = format!("\r\nTg-User: {of_subject}\r\nTg-User-Name: {name}\r\n");
        assert!(worker.hear().contains(&headers), "{name}");
        client.say(&[json!({"id": 2, "subscribe": {"channel": "room.1"}})]);
        client.say(&[json!({"id": 3, "publish": {"channel": "room.1", "data": 1}})]);
        worker.say(format!("PUB tg.user.{of_subject} 1\r\n7\r\n"));
        bench.run_for(SECOND / 10);
        let said = client.texts();
        let publication = said.iter().find(|said| said["push"]["pub"].is_object()).expect("a publication");
        assert_eq!(publication["push"]["pub"]["info"]["user"], name);
        assert!(said.contains(&json!({"push": {"message": {"data": 7}}})), "{said:?}");
    }
}
