"""The serial link in gateware: bytes on a line, frames, and the requests in them."""
