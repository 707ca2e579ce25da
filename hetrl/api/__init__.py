"""What a program of the user's trains and asks: ``hetrl.train`` and ``hetrl.Run``."""
