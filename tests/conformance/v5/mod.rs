//! MQTT 5.0, one file per section of the standard.

mod smoke;
