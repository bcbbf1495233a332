"""What people see in a browser. Knows the services only as the Protocols of `ui.ports`."""
