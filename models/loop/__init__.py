"""The only code that speaks to a Learning Loop."""
