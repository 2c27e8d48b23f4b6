"""What makes up for the loss of the mirror: backups, the replica, and a machine that takes over."""
