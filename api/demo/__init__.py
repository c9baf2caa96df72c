"""The sample data: a year of flights as events, how they are sent, and what is known about them."""
