"""What a network does, found by running it: one definition a module, none of them about names."""
