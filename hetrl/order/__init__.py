"""WHO NEXT: in which rounds the agents are updated."""
