//! `-D COMMAND NAME VALUE`: MQTT 5.0 properties, named as mosquitto names them. The list of what may stand where is
//! [`KNOWN`].

use broker_types as types;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::cli::exit::{Exit, Failure};

/// A packet that takes properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Connect,
    Publish,
    Subscribe,
    Will,
    Disconnect,
}

use Packet::{Connect, Disconnect, Publish, Subscribe, Will};

const PACKETS: [(&str, Packet); 5] = [
    ("connect", Connect),
    ("publish", Publish),
    ("subscribe", Subscribe),
    ("will", Will),
    ("disconnect", Disconnect),
];

/// The properties, and the packets each may stand in.
const KNOWN: &[(&str, &[Packet])] = &[
    ("content-type", &[Publish, Will]),
    ("correlation-data", &[Publish, Will]),
    ("maximum-packet-size", &[Connect]),
    ("message-expiry-interval", &[Publish, Will]),
    ("payload-format-indicator", &[Publish, Will]),
    ("receive-maximum", &[Connect]),
    ("request-problem-information", &[Connect]),
    ("request-response-information", &[Connect]),
    ("response-topic", &[Publish, Will]),
    ("session-expiry-interval", &[Connect, Disconnect]),
    ("subscription-identifier", &[Subscribe]),
    ("topic-alias-maximum", &[Connect]),
    ("user-property", &[Connect, Publish, Will, Disconnect]),
    ("will-delay-interval", &[Will]),
];

/// All `-D`, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties(Vec<Given>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    packet: Packet,
    name: &'static str,
    value: String,
    /// The second value of a User Property.
    second: Option<String>,
}

impl Args for Properties {
    fn augment_args(command: Command) -> Command {
        command.arg(
            Arg::new("property")
                .short('D')
                .long("property")
                .num_args(3..=4)
                .action(ArgAction::Append)
                .allow_hyphen_values(false)
                .value_names(["PACKET", "NAME", "VALUE"])
                .help("A property, like `publish content-type text/plain`; `user-property` takes a name and a value"),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Properties {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let occurrences = matches
            .get_occurrences::<String>("property")
            .into_iter()
            .flatten();
        let given = occurrences.map(|words| {
            let words: Vec<&str> = words.map(String::as_str).collect();
            Given::parse(&words)
                .map_err(|why| clap::Error::raw(clap::error::ErrorKind::ValueValidation, why + "\n"))
        });
        Ok(Self(given.collect::<Result<_, _>>()?))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Given {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let [packet, name, value, rest @ ..] = words else {
            return Err("-D needs a packet, a property and a value".to_owned());
        };
        let packets = PACKETS.map(|(name, _)| name).join(", ");
        let (_, kind) = PACKETS
            .into_iter()
            .find(|(name, _)| name == packet)
            .ok_or_else(|| format!("-D {packet}: the packet must be one of {packets}"))?;
        let (name, _) = KNOWN
            .iter()
            .find(|(known, places)| known == name && places.contains(&kind))
            .ok_or_else(|| {
                let places = KNOWN.iter().filter(|(_, places)| places.contains(&kind));
                let names: Vec<_> = places.map(|(name, _)| *name).collect();
                format!(
                    "-D {packet} {name}: the property must be one of {}",
                    names.join(", ")
                )
            })?;
        if rest.len() != usize::from(*name == "user-property") {
            return Err(format!("-D {packet} {name}: wrong number of values"));
        }
        Ok(Self {
            packet: kind,
            name,
            value: (*value).to_owned(),
            second: rest.first().map(|&second| second.to_owned()),
        })
    }
}

impl Properties {
    /// Returns the value of `name` in `packet`; the last wins.
    pub(crate) fn text(&self, packet: Packet, name: &str) -> Option<&str> {
        let wanted = |given: &&Given| given.packet == packet && given.name == name;
        self.0.iter().rev().find(wanted).map(|given| given.value.as_str())
    }

    /// Returns the number that `name` has in `packet`.
    ///
    /// # Errors
    /// It is none, or too large.
    pub(crate) fn number<T: std::str::FromStr>(
        &self,
        packet: Packet,
        name: &str,
    ) -> Result<Option<T>, Failure> {
        let wrong =
            |text: &str| Failure::new(Exit::Usage, format!("-D … {name} {text}: not a number that fits"));
        self.text(packet, name)
            .map(|text| text.parse().map_err(|_| wrong(text)))
            .transpose()
    }

    /// Returns the User Properties of `packet`, in order.
    pub(crate) fn user(&self, packet: Packet) -> impl Iterator<Item = (&str, &str)> {
        let of_packet = self.0.iter().filter(move |given| given.packet == packet);
        of_packet.filter_map(|given| Some((given.value.as_str(), given.second.as_deref()?)))
    }

    /// Puts the properties of an Application Message together.
    ///
    /// # Errors
    /// One of them is wrong.
    pub(crate) fn message(&self, packet: Packet) -> Result<types::Properties, Failure> {
        let utf8 = self.number::<u8>(packet, "payload-format-indicator")? == Some(1);
        let mut builder = types::PropertiesBuilder::new().payload_is_utf8(utf8);
        if let Some(text) = self.text(packet, "content-type") {
            builder = builder.content_type(text);
        }
        if let Some(text) = self.text(packet, "response-topic") {
            builder = builder.response_topic(text);
        }
        if let Some(text) = self.text(packet, "correlation-data") {
            builder = builder.correlation_data(text.as_bytes());
        }
        for (name, value) in self.user(packet) {
            builder = builder.user(name, value);
        }
        builder
            .build()
            .map_err(|error| Failure::new(Exit::Usage, format!("-D: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Properties, clap::Error> {
        let command = Properties::augment_args(Command::new("x")).arg(Arg::new("t").short('t'));
        let matches = command.try_get_matches_from(format!("x {words}").split_whitespace())?;
        Properties::from_arg_matches(&matches)
    }

    #[test]
    fn each_has_its_own_number_of_values() {
        let all =
            parse("-D publish user-property a b -t x -D publish content-type text -D will user-property c d")
                .unwrap();
        assert_eq!(all.text(Publish, "content-type"), Some("text"));
        assert_eq!(all.user(Publish).collect::<Vec<_>>(), [("a", "b")]);
        assert_eq!(all.user(Will).collect::<Vec<_>>(), [("c", "d")]);
        let message = all.message(Publish).unwrap();
        assert_eq!(message.content_type(), Some("text"));
        assert_eq!(message.user().count(), 1);
    }

    #[test]
    fn what_does_not_belong_there_is_refused() {
        for bad in [
            "-D publish receive-maximum 1",
            "-D ping user-property a b",
            "-D publish user-property a",
            "-D publish content-type a b",
            "-D publish content-type",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let numbers = parse("-D connect receive-maximum many").unwrap();
        assert!(numbers.number::<u16>(Connect, "receive-maximum").is_err());
    }
}
