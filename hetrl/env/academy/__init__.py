"""Academy drills of Google Research Football, straight over its engine: what happens in one match."""
