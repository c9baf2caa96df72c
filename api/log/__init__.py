"""The API's only way to the Kafka log."""
