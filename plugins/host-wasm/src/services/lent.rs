//! What a call lends: the client and the rest of the message. Both are gone when the call returns; wasmtime sees to it that no
//! guest holds them longer.

use plugin_api::ClientView;
use wasmtime::component::Resource;

use super::{Client, MessageView};
use crate::bindings::types::{Host, HostClient, HostMessageView, PropertiesResult, Protocol, Source};
use crate::message;
use crate::state::State;

impl State {
    /// Asks the client of the call at hand. There is one whenever a guest has a handle.
    fn ask<T: Default>(&self, question: impl FnOnce(&ClientView) -> T) -> T {
        self.client.as_deref().map(question).unwrap_or_default()
    }
}

impl Host for State {}

impl HostClient for State {
    fn connection(&mut self, _: Resource<Client>) -> u64 {
        self.ask(|client| client.handle.0)
    }

    fn id(&mut self, _: Resource<Client>) -> String {
        self.ask(|client| client.id.as_str().to_owned())
    }

    fn username(&mut self, _: Resource<Client>) -> Option<String> {
        self.ask(|client| client.username.as_deref().map(str::to_owned))
    }

    fn authenticated(&mut self, _: Resource<Client>) -> bool {
        self.ask(|client| client.authenticated)
    }

    fn listener(&mut self, _: Resource<Client>) -> String {
        self.ask(|client| client.listener.to_string())
    }

    fn peer(&mut self, _: Resource<Client>) -> String {
        self.ask(|client| client.peer.to_string())
    }

    fn protocol(&mut self, _: Resource<Client>) -> Protocol {
        match self.ask(|client| client.version.level()) {
            3 => Protocol::Mqtt31,
            4 => Protocol::Mqtt311,
            _ => Protocol::Mqtt5,
        }
    }

    fn clean_start(&mut self, _: Resource<Client>) -> bool {
        self.ask(|client| client.clean_start)
    }

    fn mount(&mut self, _: Resource<Client>) -> String {
        self.ask(|client| client.mount.to_string())
    }

    fn attribute(&mut self, _: Resource<Client>, name: String) -> Option<String> {
        self.ask(|client| client.attribute(&name).map(str::to_owned))
    }

    fn certificate(&mut self, _: Resource<Client>) -> Option<Vec<u8>> {
        let shown = self.shows_certificates;
        self.ask(|client| {
            client
                .certificate
                .as_ref()
                .filter(|_| shown)
                .map(|der| der.to_vec())
        })
    }

    fn drop(&mut self, _: Resource<Client>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl HostMessageView for State {
    fn source(&mut self, _: Resource<MessageView>) -> Source {
        use broker_types::Source as From;
        match self.more.source {
            From::Client => Source::Client,
            From::Will => Source::Will,
            From::Bridge => Source::Bridge,
            From::Plugin => Source::Plugin,
            From::Retained => Source::Retained,
            _ => Source::Embedder,
        }
    }

    fn dup(&mut self, _: Resource<MessageView>) -> bool {
        self.more.dup
    }

    fn properties(&mut self, _: Resource<MessageView>) -> PropertiesResult {
        message::properties_out(&self.more.properties, self.more.expiry)
    }

    fn user_property(&mut self, _: Resource<MessageView>, key: String) -> Option<String> {
        let mut user = self.more.properties.user();
        user.find(|property| property.name == key)
            .map(|property| property.value.to_owned())
    }

    fn content_type(&mut self, _: Resource<MessageView>) -> Option<String> {
        self.more.properties.content_type().map(str::to_owned)
    }

    fn drop(&mut self, _: Resource<MessageView>) -> wasmtime::Result<()> {
        Ok(())
    }
}
