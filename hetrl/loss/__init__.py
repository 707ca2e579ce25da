"""WHAT TO PUSH: one value per sample, minimised; a loss owns no network and reduces nothing."""
