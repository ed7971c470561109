//! MQTT 5.0, one file per section of the standard or per pair of packets that belong together.

mod acks;
mod auth;
mod connack;
mod connect;
mod connect_payload;
mod connect_properties;
mod data;
mod disconnect;
mod errors;
mod flow;
mod publish;
mod publish_properties;
mod qos;
mod session;
mod shared_subscriptions;
mod subscribe;
mod topic;
mod unsubscribe;
