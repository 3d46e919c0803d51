//! Activations, turns, recorded steps, outbox and wake-ups.
