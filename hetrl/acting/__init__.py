"""Policies as they are used: an observation in, an action out, one object for each agent."""
