#include "kernels/residency.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <string>

#include "kernels/device_log.h"
#include "kernels/halide_hooks.h"
#include "kernels/jacobian.h"
#include "kernels/random.h"

namespace kindling::kernels {
namespace {

std::atomic<bool> enabled_flag{true};

// All residencies of the process. Each serves one thread.
std::mutex registry;
std::vector<Residency*>& living() {
  static std::vector<Residency*> all;
  return all;
}

// First and last byte but one of what a buffer covers.
struct Range {
  std::byte* begin;
  std::byte* end;
};
Range range_of(const halide_buffer_t& b) {
  std::int64_t last = 0;
  for (int i = 0; i < b.dimensions; ++i) {
    if (b.dim[i].extent == 0) return {nullptr, nullptr};
    last += std::int64_t{b.dim[i].extent - 1} * b.dim[i].stride;
  }
  auto* begin = reinterpret_cast<std::byte*>(b.host);
  return {begin, begin + (last + 1) * b.type.bytes()};
}

bool dense(const halide_buffer_t& b) {
  std::int64_t elements = 1;
  for (int i = 0; i < b.dimensions; ++i) elements *= b.dim[i].extent;
  const Range r = range_of(b);
  return elements * b.type.bytes() == r.end - r.begin;
}

// Where a part of an array may begin for a kernel to work on it in place: what OpenCL devices ask of sub-buffers.
constexpr std::int64_t part_alignment = 512;

}  // namespace

bool Residency::set_enabled(bool enabled) { return enabled_flag.exchange(enabled); }

Residency::Residency(const Execution& execution) {
  if (execution.target == nullptr || !execution.target->gpu || !enabled_flag) return;
  target_ = execution.target;
  device_ = device_of(*target_);
  thread_ = std::this_thread::get_id();
  const std::lock_guard lock(registry);
  living().push_back(this);
  // Intermediate results of kernels are of the same few sizes, step after step.
  halide_reuse_device_allocations(nullptr, true);
}

Residency::~Residency() {
  try {
    finish();
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): documented
  }
  if (device_ == nullptr) return;
  const std::lock_guard lock(registry);
  std::erase(living(), this);
}

std::vector<Residency*> Residency::of_this_thread() {
  const std::lock_guard lock(registry);
  std::vector<Residency*> mine;
  for (Residency* r : living())
    if (r->thread_ == std::this_thread::get_id()) mine.push_back(r);
  return mine;
}

void Residency::enter() {
  if (device_ == nullptr) return;
  const std::lock_guard lock(registry);
  thread_ = std::this_thread::get_id();
}

Residency::Array* Residency::find(const void* data) {
  const auto* at = static_cast<const std::byte*>(data);
  for (Array& a : arrays_)
    if (at >= a.begin && at < a.begin + a.bytes) return &a;
  return nullptr;
}

void Residency::keep(Role role, const void* data, std::int64_t bytes) {
  if (device_ == nullptr || bytes == 0) return;
  auto* begin = static_cast<std::byte*>(const_cast<void*>(data));
  for (Residency* r : of_this_thread()) {
    const Array* a = r->find(begin);
    if (a != nullptr && begin + bytes <= a->begin + a->bytes) return;
  }
  constexpr std::int64_t most = 0x7fffffff;
  if (bytes > most) return;  // no kernel takes it in one piece
  Array& a = arrays_.emplace_back();
  a.begin = begin;
  a.bytes = bytes;
  a.role = role;
  a.extent = {0, static_cast<std::int32_t>(bytes), 1};
  a.buffer.host = reinterpret_cast<std::uint8_t*>(a.begin);
  a.buffer.type = halide_type_of<std::uint8_t>();
  a.buffer.dimensions = 1;
  a.buffer.dim = &a.extent;
  a.buffer.set_host_dirty(role != Role::scratch);
}

void Residency::to_host(Array& array) const {
  if (!array.buffer.device_dirty()) return;
  CallState state;
  if (halide_copy_to_host(&state, &array.buffer) != 0) {
    throw Error(ErrorCode::kernel,
                fmt::format("{}: {} bytes did not come back from the device: {}", target(), array.bytes, state.error));
  }
  count_to_host(array.bytes);
}

// A part alone; the rest of the host's copy stays behind.
void Residency::to_host(Array& array, std::int64_t first, std::int64_t bytes) const {
  if (!array.buffer.device_dirty()) return;
  CallState state;
  halide_dimension_t extent{static_cast<std::int32_t>(first), static_cast<std::int32_t>(bytes), 1};
  halide_buffer_t part = array.buffer;
  part.device = 0;
  part.host += first;
  part.dim = &extent;
  int status = halide_device_crop(&state, &array.buffer, &part);
  if (status == 0) {
    part.set_device_dirty();
    status = halide_copy_to_host(&state, &part);
    halide_device_release_crop(&state, &part);
  }
  if (status != 0) {
    throw Error(ErrorCode::kernel,
                fmt::format("{}: {} bytes did not come back from the device: {}", target(), bytes, state.error));
  }
  count_to_host(bytes);
}

void Residency::to_device(CallState& state, Array& array) const {
  const bool copied = array.buffer.host_dirty();
  if (halide_copy_to_device(&state, &array.buffer, device_) != 0) {
    throw Error(ErrorCode::kernel,
                fmt::format("{}: the device did not take {} bytes: {}", target(), array.bytes, state.error));
  }
  if (copied) count_to_device(array.bytes);
}

void Residency::release(Array& array) {
  CallState state;
  if (array.buffer.device != 0) halide_device_free(&state, &array.buffer);
}

void Residency::drop(const void* data) {
  for (auto a = arrays_.begin(); a != arrays_.end(); ++a) {
    if (a->begin != data) continue;
    release(*a);
    // The others' buffers point into their own places.
    Array& last = arrays_.back();
    if (&*a != &last) {
      *a = last;
      a->buffer.dim = &a->extent;
    }
    arrays_.pop_back();
    return;
  }
}

void Residency::finish() {
  std::deque<Array> arrays;
  arrays.swap(arrays_);
  std::string complaint;
  for (Array& a : arrays) {
    try {
      if (a.role == Role::result) to_host(a);
    } catch (const Error& error) {
      complaint = error.what();
    }
    release(a);
  }
  if (!complaint.empty()) throw Error(ErrorCode::kernel, complaint);
}

void fetch_array(const void* data, std::int64_t bytes) {
  for (Residency* r : Residency::of_this_thread()) {
    Residency::Array* a = bytes > 0 ? r->find(data) : nullptr;
    if (a == nullptr) continue;
    const std::int64_t first = static_cast<const std::byte*>(data) - a->begin;
    if (first == 0 && bytes >= a->bytes) return r->to_host(*a);
    return r->to_host(*a, first, std::min(bytes, a->bytes - first));
  }
}

void array_changed(const void* data) {
  for (Residency* r : Residency::of_this_thread()) {
    Residency::Array* a = r->find(data);
    if (a == nullptr) continue;
    a->buffer.set_device_dirty(false);
    a->buffer.set_host_dirty();
    return;
  }
}

void zero(const Execution& execution, std::span<float> array) {
  const std::vector<Residency*> mine = Residency::of_this_thread();
  if (std::any_of(mine.begin(), mine.end(), [&](Residency* r) { return r->find(array.data()) != nullptr; })) {
    philox_normal(execution, {}, 0, 0, array);  // normal draws, which are finite, times 0
  } else {
    std::fill(array.begin(), array.end(), 0.0F);
  }
}

void copy_rows(const Execution& execution, ConstTensorView from, TensorView to) {
  if (execution.target->gpu) {
    const std::vector<float> ones(static_cast<std::size_t>(from.rows()), 1.0F);
    scale_rows(execution, from, ones, to);
    return;
  }
  for (std::int64_t r = 0; r < from.rows(); ++r) std::copy_n(from.row(r), from.cols(), to.row(r));
}

void Loans::fail(const Loan& loan, const char* what) const {
  throw Error(ErrorCode::kernel,
              fmt::format("{}: {} {} bytes: {}", loan.owner->target(), what, loan.bytes, state_.error));
}

// A part that begins in the middle of its array: in place where it is aligned, else in a copy.
void Loans::borrow_part(Loan& loan, bool needed) {
  loan.extent = {static_cast<std::int32_t>(loan.first), static_cast<std::int32_t>(loan.bytes), 1};
  for (halide_buffer_t* b : {&loan.window, &loan.copy}) {
    b->type = halide_type_of<std::uint8_t>();
    b->dimensions = 1;
    b->dim = &loan.extent;
  }
  if (halide_device_crop(&state_, &loan.array->buffer, &loan.window) != 0) fail(loan, "the device found no part of");
  if (loan.first % part_alignment == 0) return;
  if (halide_device_malloc(&state_, &loan.copy, loan.owner->device_) != 0) fail(loan, "the device has no memory for");
  if (needed && halide_buffer_copy(&state_, &loan.window, loan.owner->device_, &loan.copy) != 0)
    fail(loan, "the device did not copy");
}

void Loans::take(Buffer& buffer) {
  halide_buffer_t& raw = *buffer.raw();
  const Range range = range_of(raw);
  if (range.begin == nullptr) return;
  const bool written = buffer.use() != Buffer::Use::in;
  for (Residency* r : Residency::of_this_thread()) {
    if (r->target_ != execution_.target) continue;
    for (Residency::Array& a : r->arrays_) {
      if (range.begin >= a.begin + a.bytes || range.end <= a.begin) continue;
      if (range.begin < a.begin || range.end > a.begin + a.bytes) {
        // More than an array: the kernel gets it from the host.
        r->to_host(a);
        if (written) a.buffer.set_host_dirty();
        continue;
      }
      const bool writes_only = written && buffer.use() != Buffer::Use::inout, whole = dense(raw);
      const std::int64_t bytes = range.end - range.begin;
      // What is overwritten whole need not be copied in first.
      if (writes_only && whole && bytes == a.bytes) a.buffer.set_host_dirty(false);
      r->to_device(state_, a);
      Loan& loan = loans_.emplace_back();
      loan = {.buffer = &buffer, .owner = r, .array = &a, .first = range.begin - a.begin, .bytes = bytes};
      loan.written = written;
      if (loan.first > 0) borrow_part(loan, !writes_only || !whole);
      const halide_buffer_t& lent = loan.copy.device != 0 ? loan.copy : loan.first > 0 ? loan.window : a.buffer;
      raw.device = lent.device;
      raw.device_interface = lent.device_interface;
      raw.set_host_dirty(false);
      raw.set_device_dirty(!writes_only && a.buffer.device_dirty());
      return;
    }
  }
}

bool Loans::holds(const Buffer& buffer) const {
  return std::any_of(loans_.begin(), loans_.end(), [&](const Loan& loan) { return loan.buffer == &buffer; });
}

int Loans::give_back(bool succeeded) {
  int status = 0;
  const auto note = [&](int result) {
    if (status == 0) status = result;
  };
  for (Loan& loan : loans_) {
    halide_buffer_t& raw = *loan.buffer->raw();
    if (loan.written && succeeded && raw.device != 0) {
      // A stage of the kernel may have run on the host.
      if (raw.host_dirty()) note(halide_copy_to_device(&state_, &raw, loan.owner->device_));
      if (loan.copy.device != 0) note(halide_buffer_copy(&state_, &loan.copy, loan.owner->device_, &loan.window));
      loan.array->buffer.set_device_dirty();
    }
    if (loan.copy.device != 0) note(halide_device_free(&state_, &loan.copy));
    if (loan.window.device != 0) note(halide_device_release_crop(&state_, &loan.window));
    raw.device = 0;
    raw.device_interface = nullptr;
  }
  loans_.clear();
  return status;
}

}  // namespace kindling::kernels
