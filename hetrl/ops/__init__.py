"""Pure tensor functions that several components share; they import torch only."""
