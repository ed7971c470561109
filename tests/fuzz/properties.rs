//! Property blocks of a message: what is taken can be read, and built again into the same.

use broker_types::Properties;
use bytes::Bytes;

pub(crate) fn body(data: &[u8]) {
    let Ok(properties) = Properties::parse(Bytes::copy_from_slice(data)) else {
        return;
    };
    let again = properties
        .to_builder()
        .build()
        .expect("what was read can be built");
    assert_eq!(again.payload_is_utf8(), properties.payload_is_utf8());
    assert_eq!(again.content_type(), properties.content_type());
    assert_eq!(again.response_topic(), properties.response_topic());
    assert_eq!(again.correlation_data(), properties.correlation_data());
    let pairs = |of: &Properties| {
        let pairs = of
            .user()
            .map(|pair| (pair.name.to_owned(), pair.value.to_owned()));
        pairs.collect::<Vec<_>>()
    };
    assert_eq!(pairs(&again), pairs(&properties));
    let read =
        Properties::parse(Bytes::copy_from_slice(again.as_bytes())).expect("what was built can be read");
    assert_eq!(read.as_bytes(), again.as_bytes());
}
