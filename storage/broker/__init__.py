"""The embedded broker: the genuine Apache Kafka server as a child process."""
