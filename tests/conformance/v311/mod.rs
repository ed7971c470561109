//! MQTT 3.1.1, one file per section of the standard or per group of packets; and what 3.1 does otherwise.

mod connect;
mod data;
mod publish;
mod qos;
mod session;
mod subscribe;
mod topic;
mod v31;
