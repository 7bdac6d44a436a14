// Which samples make up a batch of joint and product pairs.
#pragma once

#include <kindling/information.h>
#include <kindling/random.h>

#include <cstdint>
#include <vector>

namespace kindling {

/// Which of n >= 2 samples make up a batch: joint ones anywhere, the partner of each product pair anywhere but at the
/// joint one itself, since a sample beside itself is no draw from the product of the marginals. With `permutation` the
/// partners are the joint ones, permuted in one cycle. 2 * pairs numbers, joint ones first.
std::vector<std::int32_t> random_pairs(const Stream& stream, std::int64_t pairs, std::int64_t n,
                                       ProductPairs product = ProductPairs::second_batch);
/// The same with the joint ones in turn, from number first on, and partners anywhere.
std::vector<std::int32_t> pairs_in_turn(const Stream& stream, std::int64_t first, std::int64_t pairs, std::int64_t n);

/// A random permutation of 0 .. n-1 that is one cycle (Sattolo's algorithm): no element keeps its place. n >= 2.
std::vector<std::int32_t> random_cycle(PhiloxReader& reader, std::int64_t n);

}  // namespace kindling
