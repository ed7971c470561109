//! A plugin all of whose hooks take their time: they wait for another thread, for a service of the broker, or for ever.

use std::future::poll_fn;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use plugin_sdk::prelude::*;
use plugin_sdk::{Durability, StoreCaps, StoreFault, StoreOp};

/// Calls that began and are over, one way or another.
pub(crate) static BEGUN: AtomicUsize = AtomicUsize::new(0);
pub(crate) static OVER: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// `now`, `hop` (to another thread), `never`, `panic` (after a hop) or `fault` (after a hop).
    pub(crate) mode: String,
}

pub(crate) struct Later {
    mode: Mutex<String>,
    host: Host,
    seen: Mutex<Vec<u8>>,
}

/// Counts a call, also one that is given up.
struct Call;

impl Call {
    fn begin() -> Self {
        BEGUN.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        OVER.fetch_add(1, Ordering::SeqCst);
    }
}

/// Goes on when another thread has woken this task, twice to be sure.
async fn hop() {
    let mut asked = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        std::thread::spawn(move || {
            waker.wake_by_ref();
            waker.wake();
        });
        Poll::Pending
    })
    .await;
}

impl Later {
    /// Waits as the mode says.
    async fn wait(&self) -> Result<Call, Fault> {
        let call = Call::begin();
        let mode = self.mode.lock().map(|mode| mode.clone()).unwrap_or_default();
        match mode.as_str() {
            "now" => {}
            "never" => std::future::pending().await,
            mode => {
                hop().await;
                match mode {
                    "panic" => panic!("after a hop"),
                    "fault" => return Err(Fault("no database".to_owned())),
                    _ => {}
                }
            }
        }
        Ok(call)
    }
}

impl Plugin for Later {
    type Config = Options;

    fn create(options: Options, host: Host) -> Result<Self, String> {
        Ok(Self {
            mode: Mutex::new(options.mode),
            host,
            seen: Mutex::default(),
        })
    }

    fn interest(&self) -> Interest {
        Interest {
            properties: true,
            methods: vec!["STEPS".to_owned()],
            control: vec!["later".to_owned()],
            receive: true,
            ..Interest::default()
        }
    }

    fn reconfigure(&self, options: Options) -> Result<bool, Fault> {
        match options.mode.as_str() {
            "wrong" => Err(Fault("no such mode".to_owned())),
            "other" => Ok(false),
            _ => {
                *self.mode.lock().expect("nobody panics with it") = options.mode;
                Ok(true)
            }
        }
    }

    fn save_state(&self) -> Option<Vec<u8>> {
        Some(self.seen.lock().expect("nobody panics with it").clone())
    }

    fn load_state(&self, from_version: &str, state: &[u8]) -> Result<(), Fault> {
        if state == b"damaged" {
            return Err(Fault(format!("state of {from_version} is damaged")));
        }
        *self.seen.lock().expect("nobody panics with it") = state.to_vec();
        Ok(())
    }
}

impl AsyncConnect for Later {
    async fn connect(&self, _cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<ConnectFlow, Fault> {
        let _call = self.wait().await?;
        Ok(ConnectFlow::Continue(ConnectEdit {
            username: Some(format!("{}+", request.username.unwrap_or("nobody"))),
            ..ConnectEdit::default()
        }))
    }
}

impl AsyncAuthenticate for Later {
    async fn authenticate(&self, cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        let _call = self.wait().await?;
        let text = |text: Option<&[u8]>| String::from_utf8_lossy(text.unwrap_or_default()).into_owned();
        Ok(AuthVerdict::Allow(Grant {
            attributes: vec![
                ("id".to_owned(), cx.client_id().to_owned()),
                ("peer".to_owned(), cx.peer().to_owned()),
                ("listener".to_owned(), cx.listener().to_owned()),
                ("protocol".to_owned(), cx.protocol().to_owned()),
                ("password".to_owned(), text(request.password)),
            ],
            ..Grant::default()
        }))
    }
}

impl AsyncExchange for Later {
    async fn exchange(&self, _cx: &Cx<'_>, request: &ExchangeRequest<'_>) -> Result<ExchangeVerdict, Fault> {
        let _call = self.wait().await?;
        let mut state = request.state.to_vec();
        state.extend_from_slice(request.data.unwrap_or_default());
        Ok(if state.len() < 3 {
            ExchangeVerdict::Challenge {
                data: b"more".to_vec(),
                state,
            }
        } else {
            ExchangeVerdict::Success {
                grant: Box::default(),
                data: Some(state),
            }
        })
    }
}

impl AsyncAuthorize for Later {
    async fn authorize(&self, cx: &Cx<'_>, item: &AclItem<'_>) -> Result<AclDecision, Fault> {
        let _call = self.wait().await?;
        Ok(AclDecision::fixed(match item.topic {
            "no" => AclVerdict::Deny(Denial::not_authorized().because("not there")),
            "low" => AclVerdict::AllowMaxQos(QoS::AtMostOnce),
            topic if cx.attribute("role") == Some(topic) => AclVerdict::Allow,
            _ => AclVerdict::Skip,
        }))
    }
}

impl AsyncSubscribe for Later {
    async fn subscribe(&self, _cx: &Cx<'_>, subscription: &Subscription<'_>) -> Result<SubscribeFlow, Fault> {
        let _call = self.wait().await?;
        Ok(SubscribeFlow::Continue(SubscribeEdit {
            filter: Some(format!("later/{}", subscription.filter)),
            class: Some(7),
            ..SubscribeEdit::default()
        }))
    }
}

impl AsyncUnsubscribe for Later {
    async fn unsubscribe(
        &self,
        _cx: &Cx<'_>,
        subscription: &Subscription<'_>,
    ) -> Result<Option<String>, Fault> {
        let _call = self.wait().await?;
        Ok(Some(format!("later/{}", subscription.filter)))
    }
}

impl AsyncPublish for Later {
    /// Asks the broker's services where the topic says so, and changes the message.
    async fn publish(&self, cx: &Cx<'_>, message: &mut Message<'_>) -> Result<Flow, Fault> {
        let _call = self.wait().await?;
        match message.topic() {
            "kv" => {
                let kv = self.host.kv().ok_or_else(|| Fault("no records".to_owned()))?;
                assert!(kv.compare_and_set("a/1", None, b"one").await?);
                assert!(!kv.compare_and_set("a/1", None, b"two").await?);
                kv.set("a/2", b"two", None).await?;
                kv.set("b", b"gone", None).await?;
                kv.delete("b").await?;
                assert_eq!(kv.get("b").await?, None);
                let mut rows = kv.scan("a/", Some("a/1"), 10).await?;
                rows.push(("a/1".to_owned(), kv.get("a/1").await?.unwrap_or_default()));
                message.set_payload(format!("{rows:?}").as_bytes())?;
            }
            "http" => {
                let http = self.host.http().ok_or_else(|| Fault("no HTTP".to_owned()))?;
                let url = String::from_utf8_lossy(message.payload()).into_owned();
                let asked = HttpRequest::post(url, "body").header("X-From", cx.client_id());
                match http.send(&asked).await {
                    Ok(answer) => message.set_payload(&answer.body)?,
                    Err(error) => {
                        return Ok(Flow::Reject(Denial::not_authorized().because(error.to_string())));
                    }
                }
            }
            _ => {
                let louder = message.payload().to_ascii_uppercase();
                message.set_payload(&louder)?;
                message.set_topic(&format!("later/{}", message.topic()))?;
                let expiry = message.properties().expiry.unwrap_or(0);
                message.set_property(Property::Expiry(expiry + 1))?;
                message.add_user_property("from", cx.client_id())?;
                let properties = Properties {
                    content_type: Some("text/plain".to_owned()),
                    ..Properties::default()
                };
                message.emit(&NewMessage {
                    topic: "besides",
                    payload: b"this",
                    properties: Some(&properties),
                    ..NewMessage::default()
                })?;
            }
        }
        Ok(Flow::Stop)
    }
}

impl AsyncDeliver for Later {
    async fn deliver(&self, class: u32, message: &mut Message<'_>) -> Result<DeliverFlow, Fault> {
        let _call = self.wait().await?;
        message.set_payload(format!("class {class}").as_bytes())?;
        Ok(DeliverFlow::Continue)
    }
}

impl AsyncWill for Later {
    async fn will(&self, _cx: &Cx<'_>, message: &mut Message<'_>) -> Result<DeliverFlow, Fault> {
        let _call = self.wait().await?;
        Ok(match message.payload() {
            b"drop" => DeliverFlow::Drop,
            _ => DeliverFlow::Continue,
        })
    }
}

impl AsyncControl for Later {
    async fn control(
        &self,
        _cx: &Cx<'_>,
        topic: &str,
        payload: &[u8],
    ) -> Result<Result<Vec<u8>, ReasonCode>, Fault> {
        let _call = self.wait().await?;
        Ok(match payload {
            b"" => Err(ReasonCode::PayloadFormatInvalid),
            payload => Ok([topic.as_bytes(), b": ", payload].concat()),
        })
    }
}

impl SessionStore for Later {
    fn caps(&self) -> StoreCaps {
        StoreCaps {
            strongest: Durability::Async,
            shared: false,
            batch_bytes_max: 1 << 20,
            value_bytes_max: 1 << 16,
        }
    }

    async fn commit(&self, batch: &[StoreOp], _want: Durability) -> Result<(), StoreFault> {
        let _call = self
            .wait()
            .await
            .map_err(|Fault(why)| StoreFault::ReadOnly(why))?;
        match batch {
            [StoreOp::Expect { .. }, ..] => Err(StoreFault::Conflict),
            [StoreOp::Put { value, .. }] => {
                *self.seen.lock().expect("nobody panics with it") = value.clone();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        let _call = self.wait().await.map_err(|Fault(why)| StoreFault::Corrupt(why))?;
        Ok((key == b"k").then(|| self.seen.lock().expect("nobody panics with it").clone()))
    }

    async fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<plugin_sdk::Record>, StoreFault> {
        let _call = self
            .wait()
            .await
            .map_err(|Fault(why)| StoreFault::Unavailable(why))?;
        let keys = (0..3).map(|i| [prefix, &[i]].concat());
        let keys = keys.filter(|key| after.is_none_or(|after| &key[..] > after));
        Ok(keys.take(max).map(|key| (key, b"v".to_vec())).collect())
    }
}

impl Bridge for Later {
    async fn egress(&self, batch: &[OwnedMessage]) -> Result<usize, Fault> {
        let _call = self.wait().await?;
        *self.seen.lock().expect("nobody panics with it") =
            batch.iter().map(|message| message.payload.len() as u8).collect();
        Ok(batch.len().min(2))
    }

    async fn ingress(&self) -> Result<Vec<OwnedMessage>, Fault> {
        let _call = self.wait().await?;
        Ok(vec![OwnedMessage {
            topic: "in".to_owned(),
            payload: b"come".to_vec(),
            qos: QoS::AtLeastOnce,
            properties: Properties {
                response_topic: Some("back".to_owned()),
                user: vec![("a".to_owned(), "b".to_owned())],
                ..Properties::default()
            },
            ..OwnedMessage::default()
        }])
    }
}

plugin_sdk::export_plugin!(Later:
    async connect, async authenticate, async exchange, async authorize, async subscribe, async unsubscribe,
    async publish, async deliver, async will, async control, session_store, bridge);
