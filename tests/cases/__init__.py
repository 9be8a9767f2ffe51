"""Material for tests."""
