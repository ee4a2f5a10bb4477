"""Pub/Sub's client side: what pulls, publishes and administers, on Google Cloud or any server."""
