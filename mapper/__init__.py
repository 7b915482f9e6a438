"""The mapper: from a tensor network and an architecture to a program."""
