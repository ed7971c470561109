//! MQTT without I/O.
#![forbid(unsafe_code)]
