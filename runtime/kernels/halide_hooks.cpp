#include "kernels/halide_hooks.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>

#include "HalideRuntime.h"
#if !defined(__wasm__)  // which has one thread
#include "kernels/worker_pool.h"
#endif

namespace kindling::kernels {
namespace {

void on_error(void* user_context, const char* message) {
  auto* state = static_cast<CallState*>(user_context);
  if (state == nullptr) return;  // the status code still reports it
  const std::lock_guard lock(state->mutex);
  if (!state->error.empty()) return;
  state->error = message;
  while (!state->error.empty() && (state->error.back() == '\n' || state->error.back() == ' ')) state->error.pop_back();
}

void on_print(void*, const char*) {}

// Kernels allocate their packed operands at every call. glibc would map and unmap them each time, and touching fresh
// pages costs more than a small kernel; so each thread keeps its last few blocks.
constexpr std::size_t alignment = 128;
constexpr std::size_t header = alignment;
// What LLVM may read past the end of a vector loop's last element.
constexpr std::size_t padding = 128;
constexpr std::size_t kept_bytes_per_thread = 48U << 20U;

struct Block {
  void* base = nullptr;
  std::size_t capacity = 0;
};

class BlockCache {
 public:
  ~BlockCache() {
    for (const Block& b : blocks_) std::free(b.base);
    alive_ = false;
  }
  Block take(std::size_t capacity) {
    std::size_t best = count;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t c = blocks_[i].capacity;
      // A much larger block is left for a larger request.
      if (c >= capacity && c <= 2 * capacity + 65536 && (best == count || c < blocks_[best].capacity)) best = i;
    }
    if (best == count) return {};
    const Block found = blocks_[best];
    blocks_[best] = {};
    kept_ -= found.capacity;
    return found;
  }
  void give(Block block) {
    if (!alive_ || block.capacity > kept_bytes_per_thread) {
      std::free(block.base);
      return;
    }
    std::size_t slot = 0;
    while (slot < count && blocks_[slot].base != nullptr) ++slot;
    if (slot == count) drop(slot = next_++ % count);
    for (std::size_t i = 1; kept_ + block.capacity > kept_bytes_per_thread && i < count; ++i) drop((slot + i) % count);
    blocks_[slot] = block;
    kept_ += block.capacity;
  }

 private:
  static constexpr std::size_t count = 16;
  void drop(std::size_t i) {
    std::free(blocks_[i].base);
    kept_ -= blocks_[i].capacity;
    blocks_[i] = {};
  }
  std::array<Block, count> blocks_{};
  std::size_t next_ = 0;
  std::size_t kept_ = 0;
  bool alive_ = true;
};

BlockCache& block_cache() {
  thread_local BlockCache cache;
  return cache;
}

// The operand of a part of a kernel that this call does not use. Nothing is read or written there.
alignas(alignment) std::byte empty_block[alignment];

void* on_malloc(void*, std::size_t bytes) {
  if (bytes == 0) return empty_block;
  const std::size_t capacity = (bytes + header + padding + alignment - 1) / alignment * alignment;
  Block block = block_cache().take(capacity);
  if (block.base == nullptr) {
    block.base = std::aligned_alloc(alignment, capacity);
    block.capacity = capacity;
    if (block.base == nullptr) return nullptr;
  }
  *static_cast<std::size_t*>(block.base) = block.capacity;
  return static_cast<std::byte*>(block.base) + header;
}

void on_free(void*, void* pointer) {
  if (pointer == nullptr || pointer == empty_block) return;
  void* base = static_cast<std::byte*>(pointer) - header;
  block_cache().give({base, *static_cast<std::size_t*>(base)});
}

int on_parallel_for(void* user_context, halide_task_t task, int first, int count, std::uint8_t* closure) {
#if defined(__wasm__)
  int status = 0;
  for (int i = first; i < first + count && status == 0; ++i) status = halide_do_task(user_context, task, i, closure);
  return status;
#else
  const auto* state = static_cast<const CallState*>(user_context);
  return WorkerPool::shared().run(user_context, task, first, count, closure, state == nullptr ? 1 : state->threads);
#endif
}

}  // namespace

void install_halide_hooks() {
  static const bool installed = [] {
    halide_set_error_handler(on_error);
    halide_set_custom_print(on_print);
    halide_set_custom_malloc(on_malloc);
    halide_set_custom_free(on_free);
    halide_set_custom_do_par_for(on_parallel_for);
    return true;
  }();
  (void)installed;
}

}  // namespace kindling::kernels
