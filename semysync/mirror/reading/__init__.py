"""What people read of the mirror; all is given a connection, and nothing is written but `person`."""
