"""Networks with named modes."""
