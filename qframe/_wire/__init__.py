"""Qdrant's messages, in a protobuf package of our own; `messages` has the classes."""
