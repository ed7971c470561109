//! `jackfield sub`: subscribes and prints what comes. Flags as of mosquitto_sub.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use broker_proto::{ClientLimits, RetainHandling, SubscribeOptions};
use broker_types::{Message, QoS, SubscriptionFilter, SubscriptionId, TopicFilter, TopicName, TopicRef};
use clap::{Args, ValueEnum};
use tokio::signal::ctrl_c;

use super::client::{Connection, Happened, Incoming, Link, Packet, Received, Style, qos};
use super::exit::{Exit, Failure, Outcome, TIMED_OUT};
use super::output;
use super::source::runtime;

/// `jackfield sub`.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "Ends with 0 when it has what it waited for or was interrupted, with the Reason Code of a refused CONNECT, \
                  with 1 when every subscription was refused, with 27 when -W is over, with 69 when the broker can't be \
                  reached or goes away."
)]
pub(crate) struct Subscribe {
    #[command(flatten)]
    connection: Connection,
    /// A Topic Filter; may be repeated
    #[arg(short, long, required_unless_present = "url")]
    topic: Vec<String>,
    /// Don't print messages whose topic matches this filter; may be repeated
    #[arg(short = 'T', long, value_name = "FILTER", value_parser = filter)]
    filter_out: Vec<TopicFilter>,
    /// Unsubscribe from this filter first; may be repeated
    #[arg(short = 'U', long, value_name = "FILTER")]
    unsubscribe: Vec<String>,
    /// The QoS asked for: 0, 1 or 2
    #[arg(short, long, default_value = "0", value_parser = qos)]
    qos: QoS,
    /// End after so many messages
    #[arg(short = 'C', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds, with exit code 27
    #[arg(short = 'W', value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    wait: Option<u64>,
    /// End when the subscriptions are acknowledged
    #[arg(short = 'E')]
    exit_when_subscribed: bool,
    /// Don't print messages that were retained
    #[arg(short = 'R', conflicts_with = "retained_only")]
    no_retained: bool,
    /// Print only messages that were retained, and end at the first other one
    #[arg(long)]
    retained_only: bool,
    /// Remove every retained message that comes
    #[arg(long)]
    remove_retained: bool,
    /// Whether retained messages are wanted (MQTT 5.0)
    #[arg(long, value_enum, default_value_t = Handling::Always)]
    retain_handling: Handling,
    /// Keep the RETAIN flag as it was published (MQTT 5.0)
    #[arg(long)]
    retain_as_published: bool,
    /// Print the topic before the payload
    #[arg(short, long)]
    verbose: bool,
    /// Don't end a message with a line break
    #[arg(short = 'N')]
    no_newline: bool,
    /// Print by a pattern: %t topic, %p payload, %x payload in hexadecimal, %l length, %q QoS, %r retain, %C %R %D %E %F %P %S
    /// properties, %I and %U time, %j JSON, %J JSON with the payload as JSON
    #[arg(short = 'F', value_name = "PATTERN", conflicts_with_all = ["verbose", "json"], value_parser = Style::pattern)]
    format: Option<Style>,
    /// Print one JSON object a line
    #[arg(long, conflicts_with = "verbose")]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Handling {
    /// With every subscription
    Always,
    /// With a subscription that is new
    New,
    /// Not at all
    Never,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Go,
    End,
}

impl Subscribe {
    pub(crate) fn run(self) -> Outcome {
        let quiet = self.connection.quiet;
        let outcome = runtime()?.block_on(self.until_the_end(BufWriter::new(io::stdout())));
        outcome.map_err(|failure| if quiet { failure.without_words() } else { failure })
    }

    /// Subscribes and prints to `out` until it is enough, the time is over or somebody interrupts.
    pub(crate) async fn until_the_end(&self, out: impl Write) -> Outcome {
        let over = async {
            match self.wait {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            outcome = self.subscribe(out) => outcome,
            () = over => Err(Failure::silent(TIMED_OUT)),
        }
    }

    async fn subscribe(&self, out: impl Write) -> Outcome {
        let filters = self.filters()?;
        let mut link = Link::open(&self.connection, ClientLimits::default()).await?;
        if !self.unsubscribe.is_empty() {
            link.unsubscribe(&self.unsubscribe)?;
        }
        link.subscribe(&filters, self.options(), self.subscription_id()?)?;
        let mut printer = Printer::new(self, out);
        loop {
            let event = match link.ready()? {
                Some(event) => event,
                None => {
                    printer.flush()?;
                    tokio::select! {
                        event = link.next() => event?,
                        _ = ctrl_c() => break,
                    }
                }
            };
            let next = match event {
                Happened::Subscribed(reasons) => {
                    self.check_answers(&filters, &reasons)?;
                    if self.exit_when_subscribed {
                        Next::End
                    } else {
                        Next::Go
                    }
                }
                Happened::Message(message) => {
                    let next = printer.take(&message)?;
                    if self.remove_retained && message.retain && !printer.is_hidden(&message) {
                        link.publish(&removal(&message)?)?;
                    }
                    link.accept(&message);
                    next
                }
                Happened::Published(_) | Happened::Dropped | Happened::Other => Next::Go,
            };
            if next == Next::End {
                break;
            }
        }
        printer.flush()?;
        link.close().await
    }

    /// One refused filter is worth a word; when all are, nothing will ever come.
    fn check_answers(&self, filters: &[String], reasons: &[broker_types::ReasonCode]) -> Outcome {
        for (filter, reason) in filters
            .iter()
            .zip(reasons)
            .filter(|(_, reason)| reason.is_error())
        {
            if !self.connection.quiet {
                eprintln!("jackfield: `{filter}`: the broker refused the subscription: {reason}");
            }
        }
        if reasons.iter().all(|reason| reason.is_error()) {
            return Err(Failure::silent(Exit::Failed as u8));
        }
        Ok(())
    }

    fn filters(&self) -> Result<Vec<String>, Failure> {
        let mut filters = self.topic.clone();
        filters.extend(self.connection.url_topic().map(str::to_owned));
        if filters.is_empty() {
            return Err(Failure::new(Exit::Usage, "no topic: give one with -t"));
        }
        for filter in filters.iter().chain(&self.unsubscribe) {
            SubscriptionFilter::parse(filter)
                .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        }
        Ok(filters)
    }

    fn options(&self) -> SubscribeOptions {
        SubscribeOptions {
            qos: self.qos,
            no_local: false,
            retain_as_published: self.retain_as_published,
            retain_handling: match self.retain_handling {
                Handling::Always => RetainHandling::SendAlways,
                Handling::New => RetainHandling::SendIfNew,
                Handling::Never => RetainHandling::DoNotSend,
            },
        }
    }

    fn subscription_id(&self) -> Result<Option<SubscriptionId>, Failure> {
        let number = self
            .connection
            .properties
            .number(Packet::Subscribe, "subscription-identifier")?;
        let wrong = || Failure::new(Exit::Usage, "a Subscription Identifier is 1 to 268435455");
        number
            .map(|id| SubscriptionId::new(id).ok_or_else(wrong))
            .transpose()
    }

    fn style(&self) -> Style {
        match (&self.format, self.json, self.verbose) {
            (Some(format), _, _) => format.clone(),
            (None, true, _) => Style::Json,
            (None, false, true) => Style::Verbose,
            (None, false, false) => Style::Payload,
        }
    }
}

/// The empty message that removes a retained one.
fn removal(message: &Incoming) -> Result<Message, Failure> {
    let topic = TopicName::new(message.topic.as_str());
    let topic = topic.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    Ok(Message {
        retain: true,
        ..Message::new(topic, Vec::new())
    })
}

fn filter(text: &str) -> Result<TopicFilter, String> {
    TopicFilter::new(text).map_err(|error| error.to_string())
}

/// Prints what is wanted and knows when that is enough.
struct Printer<'a, W> {
    args: &'a Subscribe,
    style: Style,
    out: W,
    printed: u64,
}

impl<'a, W: Write> Printer<'a, W> {
    fn new(args: &'a Subscribe, out: W) -> Self {
        Self {
            args,
            style: args.style(),
            out,
            printed: 0,
        }
    }

    fn take(&mut self, message: &Incoming) -> Result<Next, Failure> {
        if self.args.retained_only && !message.retain {
            return Ok(Next::End);
        }
        if self.is_hidden(message) {
            return Ok(Next::Go);
        }
        output::check(self.print(message))?;
        self.printed += 1;
        let enough = self.args.count.is_some_and(|count| self.printed >= count);
        Ok(if enough { Next::End } else { Next::Go })
    }

    fn is_hidden(&self, message: &Incoming) -> bool {
        let matches =
            |filter: &TopicFilter| TopicRef::new(&message.topic).is_ok_and(|topic| filter.matches(topic));
        (self.args.no_retained && message.retain) || self.args.filter_out.iter().any(matches)
    }

    fn print(&mut self, message: &Incoming) -> io::Result<()> {
        self.style.write(&Received::of(message), &mut self.out)?;
        if !self.args.no_newline {
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Outcome {
        output::check(self.out.flush())
    }
}
