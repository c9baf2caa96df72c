"""Cohorly: events and profiles from clients, projects and questions for servers, a public status."""
