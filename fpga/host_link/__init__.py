"""The host link of a board: serial line, frames, and the bridge to the machine and its memory."""
