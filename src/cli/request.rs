//! `jackfield rr`: publishes a request and prints what is answered. Flags as of mosquitto_rr.

use std::io::{self, Write};
use std::time::Duration;

use broker_proto::{ClientLimits, SubscribeOptions};
use broker_types::{Message, QoS, TopicName};
use clap::Args;

use super::client::{Connection, Happened, Incoming, Link, Packet, Received, Style, qos};
use super::exit::{Exit, Failure, Outcome, TIMED_OUT};
use super::output;
use super::source::runtime;

/// `jackfield rr`.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    about = "Publish a request and print the response",
    long_about = "Publish a request and print the response.\n\nThe request carries a Response Topic and Correlation Data (MQTT 5.0); only \
                  a message with the same Correlation Data counts as the response. With -V 311 whatever comes to the Response Topic \
                  counts.",
    after_help = "Ends with 0 when it has the response, with the Reason Code of a refused CONNECT, with 1 when the request was \
                  refused, with 27 when -W is over, with 69 when the broker can't be reached or goes away."
)]
pub(crate) struct Request {
    #[command(flatten)]
    connection: Connection,
    /// The Topic Name of the request
    #[arg(short, long, value_name = "TOPIC", required_unless_present = "url")]
    topic: Option<String>,
    /// The Topic Name for the response [default: one that nobody else has]
    #[arg(short = 'e', long, value_name = "TOPIC")]
    response_topic: Option<String>,
    /// The request
    #[arg(short, long, default_value = "", allow_hyphen_values = true)]
    message: String,
    /// QoS of request and response: 0, 1 or 2
    #[arg(short, long, default_value = "1", value_parser = qos)]
    qos: QoS,
    /// End after so many responses
    #[arg(short = 'C', value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// End after so many seconds, with exit code 27
    #[arg(short = 'W', value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    wait: Option<u64>,
    /// Print the topic before the payload
    #[arg(short, long)]
    verbose: bool,
    /// Print by a pattern, as `jackfield sub -F` does
    #[arg(short = 'F', value_name = "PATTERN", conflicts_with_all = ["verbose", "json"], value_parser = Style::pattern)]
    format: Option<Style>,
    /// Print one JSON object a line
    #[arg(long, conflicts_with = "verbose")]
    json: bool,
}

/// What the request asks for the response to carry.
struct Asked {
    topic: String,
    correlation: Vec<u8>,
}

impl Request {
    pub(crate) fn run(self) -> Outcome {
        let quiet = self.connection.quiet;
        let outcome = runtime()?.block_on(self.until_the_end(io::stdout()));
        outcome.map_err(|failure| if quiet { failure.without_words() } else { failure })
    }

    /// Asks, and prints to `out` what is answered until it is enough or the time is over.
    pub(crate) async fn until_the_end(&self, out: impl Write) -> Outcome {
        let Some(seconds) = self.wait else {
            return self.ask(out).await;
        };
        match tokio::time::timeout(Duration::from_secs(seconds), self.ask(out)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::silent(TIMED_OUT)),
        }
    }

    async fn ask(&self, mut out: impl Write) -> Outcome {
        let asked = self.asked()?;
        let request = self.request(&asked)?;
        let mut link = Link::open(&self.connection, ClientLimits::default()).await?;
        let options = SubscribeOptions {
            qos: self.qos,
            ..SubscribeOptions::default()
        };
        link.subscribe(std::slice::from_ref(&asked.topic), options, None)?;
        let mut left = self.count;
        while left > 0 {
            match link.next().await? {
                // Only now, so that no response can be missed.
                Happened::Subscribed(reasons) => match reasons.first().filter(|reason| reason.is_error()) {
                    None => link.publish(&request)?,
                    Some(reason) => {
                        let message =
                            format!("`{}`: the broker refused the subscription: {reason}", asked.topic);
                        return Err(Failure::new(Exit::Failed, message));
                    }
                },
                Happened::Published(reason) if reason.is_error() => {
                    return Err(Failure::new(
                        Exit::Failed,
                        format!("the broker refused the request: {reason}"),
                    ));
                }
                Happened::Dropped => return Err(Failure::new(Exit::Failed, "the request was not sent")),
                Happened::Message(message) => {
                    if self.answers(&asked, &message) {
                        self.print(&message, &mut out)?;
                        left -= 1;
                    }
                    link.accept(&message);
                }
                Happened::Published(_) | Happened::Other => {}
            }
        }
        link.close().await
    }

    /// Tells whether a message is a response to our request.
    fn answers(&self, asked: &Asked, message: &Incoming) -> bool {
        let ours = message.properties.correlation_data() == Some(&asked.correlation[..]);
        message.topic == asked.topic && (ours || !self.connection.protocol_version.is_v5())
    }

    fn asked(&self) -> Result<Asked, Failure> {
        let random = || {
            let mut bytes = [0; 12];
            getrandom::fill(&mut bytes)
                .map_err(|error| Failure::new(Exit::Internal, format!("there is no randomness: {error}")))?;
            Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        };
        let topic = match &self.response_topic {
            Some(topic) => topic.clone(),
            None => format!("jackfield/rr/{}", random()?),
        };
        Ok(Asked {
            topic,
            correlation: random()?.into_bytes(),
        })
    }

    fn request(&self, asked: &Asked) -> Result<Message, Failure> {
        let usage = |why: String| Failure::new(Exit::Usage, why);
        let topic = self.topic.as_deref().or(self.connection.url_topic());
        let topic = topic.ok_or_else(|| usage("no topic: give one with -t".to_owned()))?;
        let topic = TopicName::new(topic).map_err(|error| usage(error.to_string()))?;
        let given = self.connection.properties.message(Packet::Publish)?;
        let mut properties = given.to_builder();
        if self.connection.protocol_version.is_v5() {
            properties = properties
                .response_topic(&asked.topic)
                .correlation_data(&asked.correlation);
        } else if self.response_topic.is_none() {
            return Err(usage(
                "before MQTT 5.0 a request can't say where the response goes: give a topic with -e"
                    .to_owned(),
            ));
        }
        Ok(Message {
            qos: self.qos,
            properties: properties.build().map_err(|error| usage(error.to_string()))?,
            ..Message::new(topic, self.message.clone())
        })
    }

    fn print(&self, message: &Incoming, out: &mut impl Write) -> Outcome {
        let style = match (&self.format, self.json, self.verbose) {
            (Some(format), _, _) => format.clone(),
            (None, true, _) => Style::Json,
            (None, false, true) => Style::Verbose,
            (None, false, false) => Style::Payload,
        };
        let written = style
            .write(&Received::of(message), out)
            .and_then(|()| writeln!(out))
            .and_then(|()| out.flush());
        output::check(written)
    }
}
