# Facts that were measured on a machine where they differ from generators/common/hardware.h, a line per row and kernel
# family, written by `./dev tune <row> <family>`: kindling_tune(<row> <expression over kernel names> <fact>=<value> ...)

# Batches of 100 samples are whole tiles of five rows, and ten accumulators still cover the latency of a multiply-add; the
# weight gradient, whose rows are units, is as fast or faster with six. Four dot products of two vectors each have less to
# add up across lanes than six, and 100 outputs no remainder.
kindling_tune(avx2 "^dense_(forward|input_gradient|moments)" tile_rows=5)
kindling_tune(avx2 "^dense_forward" dot_columns=4)

# Eight pixels of a row of 8, 16 or 32, and 48, 96 or 192 channels are whole tiles of 8 x 3 vectors; with 24 accumulators
# a product takes less than half a load.
kindling_tune(avx512 "^conv2d_" tile_rows=8 narrow_rows=8 tile_vectors=3)

# Pairs of a hundred points or two: panels of 16 columns, not 32, leave fewer empty, and counters of eight lanes stay in
# registers beside a tile. Measured where two instructions of eight lanes take as long as one of sixteen (Zen 4).
kindling_tune(avx512 "^mmd_squared$" vector_width=8 tile_rows=12)
kindling_tune(avx512 "^pair_distance_" vector_width=8)
