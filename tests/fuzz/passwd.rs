//! Password files: users can be listed and taken out, and nothing else changes.

use plugin_auth_file::{list, remove};

pub(crate) fn body(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(users) = list(&text) else {
        return;
    };
    let Some(first) = users.first() else {
        return;
    };
    let rest = remove(&text, &first.user).expect("a listed user can be taken out");
    let left = list(&rest).expect("what is left is a password file");
    let expected: Vec<_> = users.iter().filter(|entry| entry.user != first.user).collect();
    assert_eq!(left.len(), expected.len());
    for (left, expected) in left.iter().zip(expected) {
        assert_eq!(left.user, expected.user);
    }
}
