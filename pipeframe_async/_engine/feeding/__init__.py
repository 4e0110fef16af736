"""The feed → what waits: opened, pulled in the task or thread it belongs to, booked, and kept until it is asked for."""
