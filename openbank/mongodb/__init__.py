"""What every user of MongoDB shares: the connection, and leases."""
