"""The accelerator in Amaranth: one component per file, `einchip_top` above them."""
