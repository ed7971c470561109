//! MQTT 3.1.1, one file per section of the standard.
