//! The bus through the NATS client: a subscription that is read from, and publishing.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, HeaderMap, ServerAddr};
use futures_util::StreamExt;
use tidegate::proto::reserved::headers::{EVENT_HEADER, ID_HEADER};
use tokio::runtime::{Builder, Runtime};

use super::{Arrival, CONNECT_TIMEOUT, Field, News, TICK, Url};

/// How long leaving may take.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to the bus and the thread's runtime that drives it.
pub(in crate::cli) struct Bus {
    runtime: Runtime,
    client: Client,
}

impl Bus {
    /// `nats://[user:password@|token@]host[:port]`.
    pub fn connect(url: &Url) -> Result<Bus, String> {
        if !matches!(url.scheme, "nats" | "tls") {
            return Err(format!("{url}: expected nats:// or tls://"));
        }
        let place = url.authority();
        let address: ServerAddr =
            format!("{}://{place}", url.scheme).parse().map_err(|error| format!("{url}: {error}"))?;
        let options = ConnectOptions::new().name("tidegate").connection_timeout(CONNECT_TIMEOUT);
        let options = match (url.user.clone(), url.password.clone()) {
            (Some(user), Some(password)) => options.user_and_password(user, password),
            (Some(token), None) => options.token(token),
            _ => options,
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let client = runtime.block_on(options.connect(address)).map_err(|error| format!("{place}: {error}"))?;
        Ok(Bus { runtime, client })
    }

    pub fn subscribe(self, subject: &str) -> Result<Subscription, String> {
        let words = |error: &dyn std::fmt::Display| format!("{subject}: {error}");
        let subscribing = async {
            let subscriber = self.client.subscribe(subject.to_owned()).await.map_err(|error| words(&error))?;
            // Only then is it sure that what is published from now on arrives.
            self.client.flush().await.map_err(|error| words(&error))?;
            Ok::<_, String>(subscriber)
        };
        let subscriber = self.runtime.block_on(subscribing)?;
        Ok(Subscription { bus: self, subscriber })
    }

    pub fn publish(&self, subject: &str, fields: &[Field], payload: &[u8]) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        for Field { name, value } in fields {
            headers.insert(name.as_str(), value.as_str());
        }
        let (subject, payload) = (subject.to_owned(), payload.to_vec());
        let publishing = async {
            match headers.is_empty() {
                true => self.client.publish(subject, payload.into()).await,
                false => self.client.publish_with_headers(subject, headers, payload.into()).await,
            }
        };
        self.runtime.block_on(publishing).map_err(|error| error.to_string())
    }

    /// Waits until the server has all that was published.
    pub fn flush(&self) -> Result<(), String> {
        let flushing = async { tokio::time::timeout(FLUSH_TIMEOUT, self.client.flush()).await };
        match self.runtime.block_on(flushing) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the bus did not take everything in time".to_owned()),
        }
    }
}

pub(in crate::cli) struct Subscription {
    bus: Bus,
    subscriber: async_nats::Subscriber,
}

impl Subscription {
    pub fn next(&mut self) -> Result<News, String> {
        let subscriber = &mut self.subscriber;
        let next = self.bus.runtime.block_on(async { tokio::time::timeout(TICK, subscriber.next()).await });
        let Ok(next) = next else { return Ok(News::Nothing) };
        let Some(message) = next else { return Ok(News::Ended(String::new())) };
        let header = |name: &str| message.headers.as_ref()?.get(name).map(|value| value.as_str().to_owned());
        Ok(News::Arrived(Arrival {
            id: header(ID_HEADER),
            event: header(EVENT_HEADER),
            subject: Some(message.subject.to_string()),
            payload: message.payload.to_vec(),
        }))
    }

    pub fn close(&mut self) {
        let subscriber = &mut self.subscriber;
        _ = self.bus.runtime.block_on(async { tokio::time::timeout(FLUSH_TIMEOUT, subscriber.unsubscribe()).await });
        _ = self.bus.flush();
    }
}
