"""Running what is not trusted: a command in a box, and the program that describes a submission."""
