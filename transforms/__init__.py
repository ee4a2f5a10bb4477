"""What turns an event into model inputs: decode, derive, velocity and the TFT graph."""
