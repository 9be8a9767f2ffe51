"""What people and other systems see of a Record. Reports read; they never alter anything."""
