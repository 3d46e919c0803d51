//! What a caught panic says.

use std::any::Any;

/// The words of a panic, when it has any.
pub fn words(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "not text"
    }
}
