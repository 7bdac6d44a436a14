#include "nn/pair_indices.h"

#include <numeric>
#include <utility>

namespace kindling {
namespace {

std::vector<std::int32_t> with_partners(PhiloxReader& reader, std::vector<std::int32_t> joint, std::int64_t n) {
  const std::size_t pairs = joint.size();
  joint.reserve(2 * pairs);
  for (std::size_t i = 0; i < pairs; ++i) {
    const auto step = static_cast<std::int64_t>(reader.below(static_cast<std::uint64_t>(n - 1)));
    joint.push_back(static_cast<std::int32_t>((joint[i] + 1 + step) % n));
  }
  return joint;
}

}  // namespace

std::vector<std::int32_t> random_cycle(PhiloxReader& reader, std::int64_t n) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size(); i-- > 1;) std::swap(order[i], order[reader.below(i)]);
  return order;
}

std::vector<std::int32_t> random_pairs(const Stream& stream, std::int64_t pairs, std::int64_t n, ProductPairs product) {
  PhiloxReader reader(stream);
  std::vector<std::int32_t> joint(static_cast<std::size_t>(pairs));
  for (std::int32_t& i : joint) i = static_cast<std::int32_t>(reader.below(static_cast<std::uint64_t>(n)));
  if (product == ProductPairs::second_batch) return with_partners(reader, std::move(joint), n);
  const auto cycle = random_cycle(reader, pairs);
  joint.reserve(2 * joint.size());
  for (const std::int32_t to : cycle) joint.push_back(joint[static_cast<std::size_t>(to)]);
  return joint;
}

std::vector<std::int32_t> pairs_in_turn(const Stream& stream, std::int64_t first, std::int64_t pairs, std::int64_t n) {
  PhiloxReader reader(stream);
  std::vector<std::int32_t> joint(static_cast<std::size_t>(pairs));
  for (std::int64_t i = 0; i < pairs; ++i)
    joint[static_cast<std::size_t>(i)] = static_cast<std::int32_t>((first + i) % n);
  return with_partners(reader, std::move(joint), n);
}

}  // namespace kindling
