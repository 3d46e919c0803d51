//! Checkers judged by histories of which the verdict is known.

mod agreement;
mod conservation;
mod effects;
mod histories;
mod linear;
mod specs;
