# Facts that were measured on a machine where they differ from generators/common/hardware.h, a line per row and kernel
# family, written by `./dev tune <row> <family>`: kindling_tune(<row> <expression over kernel names> <fact>=<value> ...)
