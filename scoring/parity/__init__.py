"""Two sides of decisions bit for bit: what differs, by which cause, and what it points to."""
